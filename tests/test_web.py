"""The page of web/ in a browser, served by a plain server of files, beside Python."""

from __future__ import annotations

import functools
import http.server
import json
import math
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from music2latent import EncoderDecoder
from music2latent.chunks import ChunkPlan
from music2latent.export.facts import facts_of
from music2latent.export.model import export_model
from music2latent.latents import Latents
from music2latent.noise import keyed_noise
from music2latent.pretrained import load_checkpoint

from .browser import CHROMIUM, FLAGS
from .helpers import CLIP

WEB = Path(__file__).parent.parent / "web"
MICROPHONE = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
SECONDS, SEED = 3, 7
LATENTS, AUDIO = 3e-3, 2e-2
"""How far the page may be from Python, as norms, relative: its weights are float16. Seen: 8e-4, 5e-3."""


def relative(got: np.ndarray, expected: np.ndarray) -> float:
    assert got.shape == expected.shape
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def node(code: str) -> Any:
    """What a module prints, as JSON; it may import from web/src."""
    if not shutil.which("node"):
        pytest.skip("Node.js is not installed")
    done = subprocess.run(["node", "--input-type=module", "-e", code], cwd=WEB, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# ----------------------------------------------------------------------------------------- modules that need no browser


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1, 2**32, 2**53 - 1])
def test_noise(seed: int, mini: EncoderDecoder) -> None:
    """But for the last bit of numbers from the tail, where logarithms differ."""
    start, stop = (0, 4) if seed else (6, 7)  # position 6 has one of these
    code = f"import {{ keyedNoise }} from './src/noise.js'; const noise = keyedNoise({seed}, {start}, {stop}, 1024, 8);"
    got = np.array(node(code + "console.log(JSON.stringify([...noise]))"), np.float32)
    expected = keyed_noise(seed, 0, start, stop, mini.config).numpy().ravel()
    assert (got != expected).mean() < 1e-4
    assert np.abs(got - expected).max() < 1e-6


@pytest.mark.parametrize("length", [1, 3, 16, 17, 28, 29, 100])
def test_chunks(length: int) -> None:
    plan = ChunkPlan(16, 4)
    code = "import {{ spans, fade }} from './src/codec.js'; const all = [...spans({0}, 16, 4)];"
    code += "const fades = all.map(([a, b, last]) => [...fade((b - a) * 8, 32, a === 0, last)]);"
    spans, fades = node(code.format(length) + "console.log(JSON.stringify([all, fades]))")
    expected = list(plan.spans(length))
    assert [tuple(span[:2]) for span in spans] == expected
    for (start, stop, last), got in zip(spans, fades, strict=True):
        weights = plan.weights(stop - start, first=start == 0, last=last, per_latent=8)
        np.testing.assert_allclose(got, weights.numpy(), atol=1e-6)


EDITS = {"scale": 1, "noise": 0, "stretch": 1, "swap": False}


def edited(values: np.ndarray, num_samples: int, **changes: object) -> tuple[np.ndarray, int]:
    """`edits.js` on latents of one channel."""
    dim, length = values.shape
    latents = f"{{channels: 1, dim: {dim}, length: {length}, values: Float32Array.from({values.ravel().tolist()})}}"
    result = node(
        "import { edit } from './src/edits.js';"
        f"const done = edit({{latents: {latents}, numSamples: {num_samples}}}, {json.dumps(EDITS | changes)},"
        "{frame: 4096, edge: 1536}, 5);"
        "console.log(JSON.stringify([[...done.latents.values], done.latents.length, done.numSamples]))"
    )
    return np.reshape(result[0], (dim, result[1])), result[2]


def test_edits() -> None:
    values = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    count = 10 * 4096 - 1536
    np.testing.assert_array_equal(edited(values, count)[0], values)
    np.testing.assert_allclose(edited(values, count, scale=0.5)[0], values / 2)
    np.testing.assert_array_equal(edited(values, count, swap=True)[0], np.roll(values, -5, axis=1))
    assert 0.3 < np.std(edited(values, count, noise=0.5)[0] - values) < 0.7
    ramp = np.arange(10, dtype=np.float32)[None]
    for stretch in (0.5, 1.7, 2):
        slow, longer = edited(ramp, count, stretch=stretch)
        assert longer == round(stretch * count)
        assert slow.shape[1] == math.ceil((longer + 1536) / 4096)
        assert np.all(np.diff(slow[0]) >= 0)
        np.testing.assert_allclose(np.diff(slow[0])[2:-2], 1 / stretch, rtol=1e-4)


def test_latents_of_a_model_with_the_same_encoder_are_read(mini: EncoderDecoder, tmp_path: Path) -> None:
    path = tmp_path / "clip.m2l"
    mini.compress(np.zeros((1, 9000), np.float32), 44100).save(path)
    facts = facts_of(replace(mini.checkpoint, latent_scale=1.0, latents_of=("0" * 64, mini.fingerprint)), "float32")
    config = {"rate": 44100, "frame": mini.config.frame_size, "edge": mini.config.edge, "dim": mini.config.latent_dim}
    code = (
        "import { readFileSync } from 'node:fs'; import { read } from './src/m2l.js';"
        f"const codec = {{...{json.dumps(config)}, facts: %s, latentsFor: (n) => Math.ceil((n + 1536) / 4096)}};"
        f"const file = readFileSync({json.dumps(str(path))});"
        "const buffer = file.buffer.slice(file.byteOffset, file.byteOffset + file.length);"
        "let said; try { said = read(buffer, codec).numSamples; } catch (error) { said = error.message; }"
        "console.log(JSON.stringify(said));"
    )
    assert node(code % json.dumps(facts)) == 9000
    assert "of another model" in node(code % json.dumps(facts | {"latents_of": "0" * 64}))


def test_the_lock_file_names_no_registry() -> None:
    assert "http" not in (WEB / "package-lock.json").read_text()


# ------------------------------------------------------------------------------------------------------- in the browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as `make web` builds it."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed, which the page is built with")
    if not CHROMIUM:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    if not (WEB / "node_modules").exists():
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit"], cwd=WEB, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"npm could not install onnxruntime-web: {done.stderr[-200:]}")
    folder = tmp_path_factory.mktemp("web")
    export_model(load_checkpoint("mini"), "onnx", folder / "model", weights="float16")
    subprocess.run(["node", WEB / "build.mjs", folder / "site", folder / "model", CLIP], check=True)
    return folder / "site"


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """A plain server of the files, which sends no headers of its own."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (pip install playwright)")
    if not CHROMIUM:
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *MICROPHONE])
        yield browser
        browser.close()


def choose(page: Any, path: Path) -> None:
    """As a person does: a click, which also lets the browser play, and a file."""
    with page.expect_file_chooser() as chooser:
        page.click("#choose")
    chooser.value.set_files(path)


def finished(page: Any) -> None:
    page.wait_for_selector("body[data-state=done]", timeout=120_000)


def download(page: Any, button: str, folder: Path) -> Path:
    with page.expect_download() as event:
        page.click(button)
    path = folder / event.value.suggested_filename
    event.value.save_as(path)
    return path


def clip(folder: Path) -> Path:
    samples, rate = soundfile.read(CLIP, stop=SECONDS * 44100, dtype="float32")
    soundfile.write(folder / "clip.wav", samples[:, 0], rate, subtype="FLOAT")
    return folder / "clip.wav"


def test_the_page_equals_python_and_works_offline(
    browser: Any, address: str, site: Path, tmp_path: Path, mini: EncoderDecoder
) -> None:
    context = browser.new_context(accept_downloads=True)
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    assert page.evaluate("crossOriginIsolated"), "one thread alone"
    page.fill("[name=seed]", str(SEED))
    source = clip(tmp_path)
    samples = soundfile.read(source, dtype="float32")[0]

    # In the page's own, short chunks, and in those of the package.
    short = EncoderDecoder(model=replace(mini.checkpoint, chunk_plan=ChunkPlan(16, 4)), device="cpu", dtype="float32")
    for whole, codec in ((False, short), (True, mini)):
        if whole:
            page.check("[name=whole]")
        else:
            choose(page, source)
        finished(page)
        got = Latents.load(download(page, "#save-latents", tmp_path))
        audio = soundfile.read(download(page, "#save-sound", tmp_path), dtype="float32")[0]
        expected = codec.compress(samples[None], 44100)
        facts = ("sample_rate", "num_samples", "coding_rate", "model_id", "fingerprint", "frame_size", "edge")
        assert all(getattr(got, name) == getattr(expected, name) for name in facts)
        assert relative(got.values.numpy(), expected.values.numpy()) < LATENTS
        assert relative(audio, codec.decompress(expected, seed=SEED)[0]) < AUDIO
    assert float(page.get_attribute("body", "data-first-sound")) > 0
    assert page.evaluate("document.querySelector('#timings').textContent").endswith("real time")

    # Edits change what is saved.
    page.fill("[name=stretch]", "1.5")
    assert page.inner_text("label:has([name=stretch]) span") == "1.5"
    page.check("[name=swap]")
    assert page.get_attribute("body", "data-state") == "outdated"
    assert page.is_disabled("#save-sound")
    stretched = Latents.load(download(page, "#save-latents", tmp_path))
    assert stretched.num_samples == round(1.5 * len(samples))
    page.click("#edits button")
    np.testing.assert_array_equal(Latents.load(download(page, "#save-latents", tmp_path)).values, got.values)

    # Without a network, and without the server: a file of Python's.
    address_of = {url.split("/")[2] for url in requests if url.startswith("http")}
    assert address_of == {address.split("/")[2]}, "something was loaded from elsewhere"
    context.set_offline(True)
    page.reload()
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    latents = mini.compress(samples[None, : 44100 // 2], 44100)
    latents.save(tmp_path / "half.m2l")
    page.check("[name=whole]")
    choose(page, tmp_path / "half.m2l")
    finished(page)
    audio = soundfile.read(download(page, "#save-sound", tmp_path), dtype="float32")[0]
    assert relative(audio, mini.decompress(Latents.load(tmp_path / "half.m2l"))[0]) < AUDIO
    assert not problems
    context.close()
    assert sum(path.stat().st_size for path in (site / "model").iterdir()) < 20e6


def refusal(page: Any) -> str:
    """What the page says, in place of the sound."""
    page.wait_for_selector("#error:not([hidden])", timeout=60_000)
    assert page.is_hidden("#work")
    return str(page.inner_text("#error"))


def test_bad_files_are_refused_and_one_thread_will_do(browser: Any, address: str, tmp_path: Path) -> None:
    """In a browser without service workers, so without threads; the microphone is a false one that beeps."""
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    assert page.get_attribute("body", "data-ready") == "wasm 1"

    latents = Latents.from_array(np.zeros((64, 2), np.float32), model_id="another", fingerprint="0" * 64)
    latents.save(tmp_path / "another.m2l")
    (tmp_path / "short.m2l").write_bytes((tmp_path / "another.m2l").read_bytes()[:-9])
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound")
    with (tmp_path / "long.wav").open("wb") as file:
        soundfile.write(file, np.zeros(44100, np.int16), 44100, format="WAV")
        size = 2 * 44100 * 601
        for at, value in ((4, size + 36), (40, size)):
            file.seek(at)
            file.write(value.to_bytes(4, "little"))
        file.truncate(size + 44)
    for name, *words in (
        ("another.m2l", "of another model (another)", "music2latent decode"),
        ("short.m2l", "truncated", "open another"),
        ("empty.wav", "empty.wav is empty", "another file"),
        ("text.wav", "no sound that this browser can read", "WAV, FLAC"),
        ("long.wav", "longer than 10 minutes", "Cut out"),
    ):
        choose(page, tmp_path / name)
        said = refusal(page)
        assert all(word in said for word in words), said
        page.evaluate("document.querySelector('#error').hidden = true")

    page.click("#record")
    page.wait_for_timeout(400)
    page.click("#record")
    finished(page)
    assert page.is_hidden("#error")
    assert page.is_visible("#work")
    context.close()


NO_SIMD = "WebAssembly.validate = () => false"


def test_what_is_missing_is_said(browser: Any, address: str) -> None:
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.route("**/model/decoder.onnx", lambda route: route.fulfill(status=404))
    page.goto(address)
    said = refusal(page)
    assert "model/decoder.onnx cannot be loaded" in said
    assert "Check the connection" in said
    page.add_init_script(NO_SIMD)
    page.goto(address)
    said = refusal(page)
    assert "no WebAssembly SIMD" in said
    assert "Use a current" in said
    context.close()


def test_errors_of_the_runtime_are_explained() -> None:
    code = "import {{ explain }} from './src/errors.js'; console.log(JSON.stringify(explain({})))"
    for error in ("new RangeError('Array buffer allocation failed')", "new Error('std::bad_alloc')", "7340032"):
        assert "too little memory" in node(code.format(error)), error
    assert "Load the page again" in node(code.format("new Error('ERROR_CODE: 1')"))
