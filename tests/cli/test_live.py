"""live: in a chain of pipes with other programs, and its options."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ..helpers import CLIP, posix


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
    assert done.stderr == f"error: {message}; use it as in PLAYER | music2latent live | PLAYER\n"


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
