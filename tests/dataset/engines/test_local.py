from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from music2latent.checkpoint import write_safetensors
from music2latent.dataset.encoding import encode
from music2latent.dataset.engines.local import Local, devices

from ...helpers import INTERRUPTED, least_checkpoint, posix
from ..inline import SMALL, least, made, problems, sounds, tree

pytestmark = posix


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = sounds(tmp_path_factory.mktemp("local"), [20_000 + number for number in range(24)])
    (folder / "bad.wav").write_text("bad")
    return folder


@pytest.fixture(scope="module")
def straight(audio: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a single process makes of it."""
    made([audio], folder := tmp_path_factory.mktemp("straight") / "set")
    return tree(folder)


def test_any_number_of_processes_make_the_same_even_if_one_is_killed(
    audio: Path, straight: dict[str, bytes], tmp_path: Path
) -> None:
    killed: list[multiprocessing.process.BaseProcess] = []

    def kill_one(seconds: float) -> None:
        if not killed and seconds > 1:
            killed.append(multiprocessing.active_children()[0])
            killed[0].kill()

    engine = Local(["cpu", "cpu"], 2)  # it serves for one data set after the other
    for name, progress in (("whole", lambda seconds: None), ("killed", kill_one)):
        encode([audio], tmp_path / name, least(), engine=engine, progress=progress, **SMALL)
        assert tree(tmp_path / name) == straight
    assert killed


def _started(audio: Path, model: Path, output: Path) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "music2latent", "dataset", "encode", str(audio), "-o", str(output)]
    line += ["--model", str(model), "--device", "cpu", "--shard-size", "0.001", "--dtype", "float32"]
    return subprocess.Popen(line, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def test_killed_ten_times(audio: Path, straight: dict[str, bytes], tmp_path: Path) -> None:
    model = tmp_path / "least.safetensors"
    write_safetensors(model, least_checkpoint())
    moments = random.Random(0)
    for _ in range(10):
        process = _started(audio, model, tmp_path / "set")
        # From the first file on, wherever that is: starting takes most of the time.
        limit, wait = time.monotonic() + 60, moments.uniform(0, 1.5)
        before = len(tree(tmp_path / "set")) if (tmp_path / "set").exists() else 0
        while time.monotonic() < limit and process.poll() is None:
            if (tmp_path / "set").exists() and len(list((tmp_path / "set").rglob("*"))) > before:
                break
            time.sleep(0.02)
        time.sleep(wait)
        process.kill()
        process.communicate()
    process = _started(audio, model, tmp_path / "set")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert problems(tmp_path / "set", inputs=[str(audio)]) == []
    assert _content(tree(tmp_path / "set")) == _content(straight)


def _content(found: dict[str, bytes]) -> dict[str, bytes]:
    """Without the description, in which a model from a file has another name."""
    return {name: content for name, content in found.items() if name != "dataset.json"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(audio: Path, straight: dict[str, bytes], tmp_path: Path, number: int) -> None:
    model = tmp_path / "least.safetensors"
    write_safetensors(model, least_checkpoint())
    process = _started(audio, model, tmp_path / "set")
    while not list((tmp_path / "set").glob("*.tar")):
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == INTERRUPTED
    assert not [name for name in tree(tmp_path / "set") if "partial" in name]
    assert any("missing" in problem or "its end" in problem for problem in problems(tmp_path / "set"))


def test_devices() -> None:
    assert devices("cpu", 3) == ["cpu"] * 3
    assert len(devices("cpu", None)) == len(os.sched_getaffinity(0))
