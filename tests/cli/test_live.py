"""live: in a chain of pipes with other programs, and its options."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import soundfile

from music2latent import EncoderDecoder, InputError
from music2latent.cli.live import _bar, _meter
from music2latent.duplex import Callback, Card, Duplex
from music2latent.streaming import LIVE

from ..helpers import CLIP, Result, noise, posix


def test_raw_samples_go_through(model: str) -> None:
    samples = (3000 * np.sin(np.arange(20000) / 20)).astype("<i2")
    command = [sys.executable, "-m", "music2latent", "live", "-m", model, "--sample-rate", "44100", "--chunk", "4", "2"]
    done = subprocess.run(command, input=samples.tobytes(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == len(samples.tobytes())


@pytest.mark.parametrize("chunk", [("3", "2"), ("0", "0")])
def test_chunks_that_cannot_be_are_refused(model: str, chunk: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "music2latent", "live", "-m", model, "--chunk", *chunk]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=120, text=False)
    assert done.returncode == 1
    assert b"a chunk must hold at least two overlaps" in done.stderr


@posix
@pytest.mark.parametrize(
    ("redirection", "message"),
    [("<&-", "standard input is closed"), (f"<{CLIP} >&-", "standard output is closed")],
)
def test_closed_pipes(redirection: str, message: str) -> None:
    command = f"{sys.executable} -m music2latent live {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=120, text=True, stdin=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == f"error: {message}; use it as in PLAYER | music2latent live | PLAYER, or with --devices\n"


@pytest.mark.skipif(shutil.which("sox") is None and shutil.which("ffmpeg") is None, reason="neither sox nor ffmpeg")
def test_a_chain_of_pipes(tmp_path: Path) -> None:
    """Another program decodes to a pipe, ours codes, another writes the file: length and loudness stay."""
    ours = f"{sys.executable} -m music2latent live"
    target = tmp_path / "out.flac"
    if shutil.which("sox"):
        chain = f"sox {CLIP} -t wav -b 16 - trim 0 2 | {ours} | sox --ignore-length -t wav - {target}"
    else:
        chain = f"ffmpeg -v error -t 2 -i {CLIP} -f wav - | {ours} | ffmpeg -v error -i - {target}"
    subprocess.run(["bash", "-c", f"set -o pipefail; {chain}"], check=True, timeout=120)
    before, after = soundfile.read(CLIP)[0], soundfile.read(target)[0]
    rate = soundfile.info(target).samplerate
    assert abs(len(after) - 2 * rate) <= 1
    assert 0.3 < np.sqrt(np.square(after).mean() / np.square(before[: len(after)]).mean()) < 1.5


# ------------------------------------------------------------------------------------------------ --devices


@contextmanager
def _recording(callback: Callback) -> Iterator[None]:
    """A stand-in for a sound card: half a second of noise, and then Ctrl-C."""
    for part in np.split(noise(1, 24_000), 50, axis=1):
        callback(part.T, np.empty((480, 2), np.float32), 480, None, None)

    def interrupt() -> None:
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt).start()
    yield


@posix
def test_devices_until_ctrl_c(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def find_card(*devices: object, **options: object) -> Card:
        asked.extend([*devices, options])
        return Card(sample_rate=48_000, channels=1, open=_recording)

    monkeypatch.setattr("music2latent.duplex.find_card", find_card)
    done = Result("live", "--devices", "-m", model, "--input-device", "2", "--output-device", "speakers")
    assert asked == [2, "speakers", {"sample_rate": None, "channels": 1}]
    assert done.code == 0
    assert re.fullmatch(r"0\.\d s coded; dropouts: 0 in what was played, 0 blocks not recorded\n", done.out)
    assert "48000 Hz, 1 channels, 0.8" in done.err
    assert len(done.err.splitlines()) == 1


def test_the_meter_shows_levels_and_dropouts(tiny: EncoderDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # to rich a terminal
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr("sys.stderr", said := io.StringIO())
    two = Duplex(tiny, LIVE, sample_rate=8000, channels=1)
    two.levels = (1.0, 0.1)
    with _meter() as shown:
        shown(two)
    assert "in ████████████    0 dB  out ████████····  -20 dB  0.0 s coded; dropouts: 0" in said.getvalue()
    assert _bar(0) == "············  -60 dB"


def test_devices_need_their_switch_and_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Result("live", "--input-device", "2")
    assert done.code == 2
    assert "give that as well" in done.err

    def refuse(*_: object, **__: object) -> None:
        raise InputError("no sound card")

    for name, option in (("find_card", "--devices"), ("list_devices", "--list-devices")):
        monkeypatch.setattr(f"music2latent.duplex.{name}", refuse)
        done = Result("live", option, "--model", "a model that is not even looked for")
        assert (done.code, done.err) == (1, "error: no sound card\n")
