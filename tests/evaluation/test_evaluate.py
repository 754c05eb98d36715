"""`evaluate`: real coders at real bitrates, rows for what cannot run, and a page that a browser plays."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from music2latent.audio import open_audio, read_whole, write_audio
from music2latent.errors import InputError
from music2latent.evaluation.evaluate import Settings, choose, interval
from music2latent.evaluation.frechet import make_distance
from music2latent.evaluation.metrics import METRICS
from music2latent.evaluation.peers import make_codec

from ..cli.test_coding import INTERRUPTED, Result
from ..helpers import CLIP, sound

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def music() -> torch.Tensor:
    return torch.from_numpy(read_whole(open_audio(CLIP), 44100)[:, : 4 * 44100].copy())


@pytest.mark.parametrize(("name", "kilobits"), [("opus:32", 32), ("opus:96", 96), ("mp3:64", 64)])
@pytest.mark.parametrize("channels", [1, 2])
def test_classic_coders_keep_time_length_and_bitrate(
    music: torch.Tensor, name: str, kilobits: float, channels: int
) -> None:
    original = music[:1] if channels == 1 else torch.cat([music[:1], music[:1].roll(100, dims=1)])
    coded = make_codec(name)(original, 44100, 0)
    assert coded.audio.shape == original.shape
    assert coded.bits / 4 / channels == pytest.approx(1000 * kilobits, rel=0.35), "variable rate: about that much"
    for one, other in zip(original.numpy(), coded.audio.numpy(), strict=True):
        spectrum = np.fft.rfft(one, 2**19).conj() * np.fft.rfft(other, 2**19)
        assert int(np.fft.irfft(spectrum).argmax()) == 0, "neither early nor late"


def test_int8_latents_are_half_the_bits_and_nearly_as_good(music: torch.Tensor) -> None:
    sixteen, eight = (make_codec(name)(music[:1, :88200], 44100, 0) for name in ("mini", "mini@int8"))
    assert eight.bits == sixteen.bits / 2 == 64 * 22 * 8
    assert not torch.equal(eight.audio, sixteen.audio)
    assert (eight.audio - sixteen.audio).norm() < 0.5 * sixteen.audio.norm()


def test_the_published_model_has_its_packages_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("music2latent.evaluation.peers.EncoderDecoder", lambda model, **_: model)
    assert [make_codec(name).codec for name in ("music2latent", "mini@2")] == ["SonyCSLParis/music2latent", "mini"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("opus", "expected a bitrate in kbit/s"),
        ("mini@loud", "unknown option 'loud'"),
        ("nowhere", "unknown model"),
    ],
)
def test_refuses_what_it_does_not_know(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_codec(name)


def test_pieces_come_from_the_middle_and_evenly(tmp_path: Path) -> None:
    for name in "abcde":
        shutil.copy(CLIP, tmp_path / f"{name}.ogg")
    pieces = choose([tmp_path], Settings((), limit=3, seconds=2.0))
    assert [Path(piece.path).stem for piece in pieces] == ["a", "c", "e"]
    source = open_audio(CLIP)
    assert pieces[0].start == (source.num_samples - 2 * source.sample_rate) // 2
    assert pieces[0].read().shape == (source.channels, 2 * source.sample_rate)
    with pytest.raises(InputError, match=r"no audio of 1000 s or more"):
        choose([tmp_path], Settings((), min_seconds=1000))


def test_intervals_cover_and_leave_nan_out() -> None:
    found = interval([1.0, 2.0, 3.0, math.nan])
    assert found["count"] == 3
    assert found["mean"] == 2
    assert 1 <= found["low"] < 2 < found["high"] <= 3
    assert interval([math.nan])["count"] == 0
    draws = np.random.default_rng(0).normal(size=(200, 30))
    covered = [(one := interval(list(row)))["low"] <= 0 <= one["high"] for row in draws]
    assert 0.85 < np.mean(covered) < 1


def test_a_damaged_file_of_a_folder_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = CLIP.read_bytes()
    (tmp_path / "a.ogg").write_bytes(whole)
    write_audio(tmp_path / "b.wav", [sound(1, 9000)], 44100, 1, 9000)
    (tmp_path / "c.flac").write_bytes(b"")
    damaged = bytearray(whole)
    damaged[len(damaged) // 2 : len(damaged) // 2 + 4096] = bytes(4096)  # pages lost, the length still there
    (tmp_path / "d.ogg").write_bytes(damaged)
    pieces = choose([tmp_path], Settings(codecs=()))
    assert [Path(piece.path).name for piece in pieces] == ["a.ogg", "b.wav"]
    assert "c.flac: an empty file" in caplog.text
    assert "d.ogg: truncated, ends before sample" in caplog.text
    with pytest.raises(InputError, match=r"c\.flac: an empty file"):  # named, it is an error
        choose([tmp_path / "c.flac"], Settings(codecs=()))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    done = Result(
        *("evaluate", CLIP, "--model", "mini", "--against", "opus:12", "dac", "--steps", "1", "2"),
        *("--seconds", 6, "--seeds", 2, "--output", folder / "out"),
    )
    assert done.code == 0, done.err
    assert "| mini@2 | 1" in done.out
    return folder / "out"


def test_report_has_every_figure_and_a_row_for_what_failed(report: Path) -> None:
    result = json.loads((report / "report.json").read_text())
    assert [row["name"] for row in result["codecs"]] == ["mini", "mini@2", "opus:12", "dac"]
    mini, _, opus, dac = result["codecs"]
    assert "not installed" in dac["error"]
    assert mini["kbps"] == pytest.approx(64 * 16 * 10.77 / 1000, rel=0.05)
    assert set(mini["means"]) == set(mini["spread_over_seeds"]) == set(METRICS)
    assert mini["spread_over_seeds"]["si_sdr"] > 0 == opus["spread_over_seeds"]["si_sdr"]
    assert mini["means"]["visqol"]["mean"] == mini["files"][0]["visqol"] > 1
    assert min(mini["encode_rate"], mini["decode_rate"], opus["encode_rate"]) > 0
    assert 1e8 < mini["peak_bytes"] < 4e9
    assert "- dac: " in (report / "report.md").read_text()


def test_interrupt_ends_the_codec_too(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "music2latent", "evaluate", CLIP, "--seeds", "300", "--output", tmp_path / "out")
    (tmp_path / "work").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "work")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    while not any((tmp_path / "work").rglob("*.npy")):
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    _, err = process.communicate(timeout=20)  # until nobody holds its end: the codec's process does as well
    assert (process.returncode, err.splitlines(keepends=True)[-1]) == INTERRUPTED
    assert sorted(os.listdir(tmp_path)) == ["work"]
    assert not os.listdir(tmp_path / "work")


def test_refuses_to_replace_a_report(report: Path) -> None:
    done = Result("evaluate", CLIP, "--output", report)
    assert done.code == 1
    assert "exists already" in done.err


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_browser_shows_the_page_and_can_play_everything(report: Path, tmp_path: Path) -> None:
    """Every player is told to load its file; what the browser found is written into the page and read from there."""
    page = (report / "index.html").read_text()
    probe = """<script>
      Promise.all([...document.querySelectorAll("audio")].map(a => new Promise(done => {
        a.preload = "auto";
        a.oncanplaythrough = () => done(a.duration);
        a.onerror = () => done(-1);
        a.load();
      }))).then(all => { document.title = "durations " + all.map(x => x.toFixed(2)).join(" "); });
    </script>"""
    folder = tmp_path / "page"
    shutil.copytree(report, folder)
    (folder / "index.html").write_text(page + probe)
    command = [CHROMIUM or "", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}"]
    command += ["--virtual-time-budget=20000", "--dump-dom", (folder / "index.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    durations = re.search(r"<title>durations (.*)</title>", dom)
    assert durations, "the page's players did not answer"
    assert [float(one) for one in durations[1].split()] == pytest.approx([5.0] * 5, abs=0.1)
    assert dom.count("<img ") == 3


class Loudness:
    """In place of the package frechet-audio-distance: how far the files of two folders are apart in level."""

    def __init__(self, model_name: str, verbose: bool, sample_rate: int, **options: str) -> None:
        if model_name == "clap":
            raise OSError("no connection")
        assert (model_name, sample_rate) == ("vggish", 16000)

    def score(self, originals: str, reconstructions: str) -> float:
        folders = [sorted(Path(folder).iterdir()) for folder in (originals, reconstructions)]
        assert [path.name for path in folders[0]] == [path.name for path in folders[1]] == ["0.wav", "1.wav"]
        levels = [[read_whole(open_audio(path), 44100).std() for path in folder] for folder in folders]
        return -1 if levels[0][0] < 0.01 else abs(np.log(levels[0]) - np.log(levels[1])).mean()


def test_frechet_distance_is_between_originals_and_reconstructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "frechet_audio_distance", SimpleNamespace(FrechetAudioDistance=Loudness))
    for name, gain in (("loud", 1.0), ("soft", 0.01)):
        (tmp_path / name).mkdir()
        for number in range(2):
            write_audio(tmp_path / name / f"{number}.wav", [gain * sound(1, 44100, number)], 44100, 1, 44100)
    options = ("--against", "opus:96", "nowhere:1", "--fad", "vggish", "--model", "mini", "--seeds", 1, "--examples", 1)
    done = Result("evaluate", tmp_path / "loud", "-o", tmp_path / "report", *options)
    assert done.code == 0, done.err
    ours, opus, failed = json.loads((tmp_path / "report" / "report.json").read_text())["codecs"]
    assert 0 < opus["fad"]["vggish"] < ours["fad"]["vggish"] < 3
    assert "fad" not in failed
    assert f"| {opus['fad']['vggish']:.2f} |" in done.out
    assert "Fréchet Audio Distance (vggish), lower" in done.out
    done = Result("evaluate", tmp_path / "soft", "-o", tmp_path / "none", *options)
    assert json.loads((tmp_path / "none" / "report.json").read_text())["codecs"][1]["fad"] == {"vggish": None}


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("ears", "accepted: vggish, clap"),
        ("clap", "could not be had (OSError: no connection)"),
        ("", "music2latent[fad]"),
    ],
)
def test_frechet_distance_says_what_it_needs(network: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = SimpleNamespace(FrechetAudioDistance=Loudness) if network else None
    monkeypatch.setitem(sys.modules, "frechet_audio_distance", installed)
    with pytest.raises(InputError, match=re.escape(message)):
        make_distance(network or "vggish")
