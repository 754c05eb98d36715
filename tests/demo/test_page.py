"""The page in a browser: Debian's Chromium, headless, through Playwright. One server and one browser for all tests."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile

from music2latent import EncoderDecoder, Latents
from music2latent.demo.edits import add_noise, mix, scale, stretch, swap_halves
from music2latent.demo.server import serving

from ..browser import CHROMIUM, FLAGS
from ..helpers import audio_file, sound
from .places import free_port, tidied

pytest.importorskip("gradio", reason="the extra demo is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
pytestmark = [
    pytest.mark.skipif(not CHROMIUM, reason="no chromium; apt-get install chromium"),
    pytest.mark.filterwarnings("ignore"),  # of Gradio and what it is made of
]
SECONDS = 10
"""Limit of the page under test, for stereo."""

_NOTE_WHAT_IS_PLAYED = """
played = null
const play = HTMLMediaElement.prototype.play
HTMLMediaElement.prototype.play = function () { played = this; return play.call(this) }
"""

Open = Callable[[], Any]


@pytest.fixture(scope="module")
def url(tiny: EncoderDecoder, mini: EncoderDecoder) -> Iterator[str]:
    models = {"tiny": tiny, "mini": mini}
    port = free_port()
    with tidied(), serving(models, host="127.0.0.1", port=port, most_seconds=SECONDS, most_megabytes=5) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        options = [*FLAGS, "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def visit(url: str, browser: Any) -> Iterator[Open]:
    """Opens the page, for another visitor each time; whatever a browser then asks for, it asks this server."""
    contexts, asked = [], set()

    def open_page() -> Any:
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 1300}))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.add_init_script(_NOTE_WHAT_IS_PLAYED)
        page.on("request", lambda request: asked.add(urlsplit(request.url)))
        page.goto(url)
        page.get_by_role("button", name="Reconstruct").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert {one.netloc for one in asked if one.scheme not in ("blob", "data")} == {urlsplit(url).netloc}


# ------------------------------------------------------------------------------------------------ hands


def _tab(page: Any, name: str = "Reconstruct") -> Any:
    """What is on a tab, after a click on it."""
    page.get_by_role("tab", name=name).click()
    return page.get_by_role("tabpanel").filter(visible=True)


def _drop(tab: Any, *files: Path) -> None:
    """Give files to the first inputs of a tab, and wait until they have arrived."""
    for number, path in enumerate(files):
        with tab.page.expect_response(lambda answer: "/upload?" in answer.url):
            tab.locator("input[type=file]").nth(0 if number == 0 else -1).set_input_files(path)
        tab.page.wait_for_timeout(150)  # until the page has taken note


def _run(tab: Any, verb: str) -> None:
    """Begin, and wait for another table of facts than there was."""
    before = tab.locator(".prose.facts").inner_text()
    tab.get_by_role("button", name=verb, exact=True).click()
    tab.page.wait_for_function(
        "before => [...document.querySelectorAll('.prose.facts')].some("
        "  one => one.checkVisibility() && one.innerText && one.innerText != before)",
        arg=before,
    )


def _heard(tab: Any, label: str) -> tuple[np.ndarray, int]:
    """Samples `[C, n]` and rate of a player, downloaded by its button."""
    with tab.page.expect_download() as found:
        tab.locator(".block", has=tab.page.get_by_test_id("block-label").filter(has_text=label)).get_by_role(
            "button", name="Download"
        ).click()
    samples, rate = soundfile.read(io.BytesIO(Path(found.value.path()).read_bytes()), dtype="float32", always_2d=True)
    return samples.T, rate


def _kept(tab: Any, folder: Path) -> Latents:
    """The latents that a tab has to download."""
    with tab.page.expect_download() as found:
        tab.get_by_role("button", name="Download latents").click()
    assert found.value.suggested_filename.endswith(".m2l")
    found.value.save_as(folder / found.value.suggested_filename)
    return Latents.load(folder / found.value.suggested_filename)


def _said(page: Any) -> str:
    """The message on the page, which then is closed."""
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    text = toast.inner_text()
    toast.get_by_test_id("toast-close").click()
    toast.wait_for(state="hidden")
    return str(text)


def _results() -> list[Path]:
    """Folders of jobs, of all visitors."""
    return [path for path in Path(os.environ["GRADIO_TEMP_DIR"]).glob("visitor-*/*") if path.is_dir()]


def _wait_for(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


def _equal(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.shape == expected.shape and float(np.abs(found - expected).max()) < 2 / 32768


# ------------------------------------------------------------------------------------------------ what they do


def test_upload_reconstruct_play_and_download(visit: Open, tiny: EncoderDecoder, tmp_path: Path) -> None:
    clip = audio_file(tmp_path / "a song.flac", 2, 40_000, 48_000)
    tab = _tab(visit())
    _drop(tab, clip)
    tab.page.get_by_label("Seed").fill("5")
    _run(tab, "Reconstruct")
    facts = tab.locator(".prose.facts").inner_text()
    for fact in ("a song", "0.83 s, 2 channels, 48000 Hz", "kbit/s", "encoded", "decoded"):
        assert fact in facts
    latents = tiny.compress(clip)
    assert np.array_equal(_kept(tab, tmp_path).numpy(), latents.rounded().numpy())
    found, rate = _heard(tab, "Reconstruction")
    assert rate == 48_000
    assert _equal(found, tiny.decompress(latents.rounded(), seed=5))
    assert _equal(_heard(tab, "Original")[0], soundfile.read(clip, dtype="float32", always_2d=True)[0].T)
    picture = tab.locator("img").first
    assert picture.evaluate("one => one.complete && one.naturalWidth") > 500
    tab.get_by_role("button", name="Play").last.click()
    tab.page.wait_for_function("played && played.currentTime > 0.2")


def test_a_file_of_latents_is_decoded_and_edited(visit: Open, tiny: EncoderDecoder, tmp_path: Path) -> None:
    latents = tiny.compress(sound(1, 30_000), 44_100).rounded()
    latents.save(tmp_path / "kept.m2l")
    page = visit()
    tab = _tab(page, "Edit")
    tab.get_by_role("button", name="Edit", exact=True).click()
    assert "nothing to edit yet" in _said(page)
    tab = _tab(page, "Decode a file")
    _drop(tab, tmp_path / "kept.m2l")
    _run(tab, "Decode")
    assert _equal(_heard(tab, "Decoded")[0], tiny.decompress(latents))
    tab = _tab(page, "Edit")
    for label, value in (("Scale", 1.2), ("Noise", 0.5), ("Stretch in time", 1.5)):
        tab.get_by_label(f"number input for {label}").fill(str(value))
        tab.get_by_label(f"number input for {label}").press("Tab")
    tab.get_by_label("Swap the halves").check()
    _run(tab, "Edit")
    expected = swap_halves(stretch(add_noise(scale(latents, 1.2), 0.5, 0), 1.5))
    assert _equal(_heard(tab, "Edited")[0], tiny.decompress(expected))
    assert np.array_equal(_kept(tab, tmp_path).numpy(), expected.rounded().numpy())


def test_two_clips_are_mixed(visit: Open, tiny: EncoderDecoder, tmp_path: Path) -> None:
    clips = [audio_file(tmp_path / "a.wav", 1, 30_000), audio_file(tmp_path / "b.flac", 2, 40_000, 48_000)]
    tab = _tab(visit(), "Mix two")
    _drop(tab, *clips)
    one, other = (tiny.compress(clip) for clip in clips)
    for share in (0.5, 0.25):
        tab.get_by_label("number input for Share of the second").fill(str(share))
        tab.get_by_label("number input for Share of the second").press("Tab")
        _run(tab, "Mix")
        assert _equal(_heard(tab, "Mix")[0], tiny.decompress(mix(one, other, share)))


def test_what_cannot_be_used_is_refused_in_the_librarys_words(
    visit: Open, mini: EncoderDecoder, tmp_path: Path
) -> None:
    page = visit()
    tab = _tab(page)
    tab.get_by_role("button", name="Reconstruct", exact=True).click()
    assert "no clip; drop one first" in _said(page)
    (tmp_path / "no <b>song.wav").write_bytes(b"RIFF, but no audio")
    longer = audio_file(tmp_path / "longer.flac", 1, 8000 * (SECONDS + 5), 8000)
    for path, message in (
        (tmp_path / "no <b>song.wav", "bsong.wav: not audio that can be read"),
        (longer, "longer.flac: 0:15 long, 1 channels; this page takes up to 0:10 of stereo"),
    ):
        _drop(tab, path)
        tab.get_by_role("button", name="Reconstruct", exact=True).click()
        said = _said(page)
        assert message in said
        assert os.environ["GRADIO_TEMP_DIR"] not in said
        tab.get_by_role("button", name="Clear").first.click()
    (big := tmp_path / "big.wav").write_bytes(bytes(6_000_000))
    tab.locator("input[type=file]").first.set_input_files(big)
    assert "maximum" in _said(page)
    mini.compress(sound(1, 9000), 44_100).save(tmp_path / "others.m2l")
    (tmp_path / "broken.m2l").write_bytes(b"none")
    for name, message in (("others.m2l", "cannot be decoded by 'tiny'"), ("broken.m2l", "truncated, or not a .m2l")):
        tab = _tab(page, "Decode a file")
        _drop(tab, tmp_path / name)
        tab.get_by_role("button", name="Decode", exact=True).click()
        assert message in _said(page)
        tab.get_by_role("button", name="Clear").first.click()


def test_two_visitors_hear_their_own_and_leave_nothing(visit: Open, tiny: EncoderDecoder, tmp_path: Path) -> None:
    """Also with files of one name; a job of one of them waits while the other's runs."""
    clips = [audio_file(tmp_path / str(number) / "song.wav", 1, 20_000 + number, 44_100) for number in range(2)]
    tabs = [_tab(visit()) for _ in clips]
    for tab, clip in zip(tabs, clips, strict=True):
        _drop(tab, clip)
    for tab in tabs:
        tab.get_by_role("button", name="Reconstruct", exact=True).click()
    for tab, clip in zip(tabs, clips, strict=True):
        tab.locator(".prose.facts table").wait_for()
        assert _equal(_heard(tab, "Reconstruction")[0], tiny.decompress(tiny.compress(clip).rounded()))
    for tab, clip in zip(tabs, clips, strict=True):
        edit = _tab(tab.page, "Edit")
        _run(edit, "Edit")
        assert _equal(_heard(edit, "Edited")[0], tiny.decompress(tiny.compress(clip).rounded()))
    assert len(_results()) >= 4
    for tab in tabs:
        tab.page.close()
    _wait_for(lambda: not _results())


def test_long_work_is_cancelled(visit: Open, tmp_path: Path) -> None:
    page = visit()
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name="mini").click()
    page.get_by_label("number input for Steps").fill("8")
    tab = _tab(page)
    _drop(tab, audio_file(tmp_path / "long.wav", 2, 10 * 44_100))
    tab.get_by_role("button", name="Reconstruct", exact=True).click()
    tab.get_by_text("encoding and decoding").first.wait_for()
    tab.get_by_role("button", name="Cancel").click()
    tab.get_by_text("encoding and decoding").first.wait_for(state="hidden")
    assert tab.locator(".prose.facts").inner_text() == ""
    _wait_for(lambda: not _results())  # it ended, and would have taken half a minute
