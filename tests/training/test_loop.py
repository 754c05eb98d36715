"""Whole runs: resumed, stopped, on two processes, on a full disk."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from music2latent import InputError
from music2latent.autoencoder import Autoencoder
from music2latent.checkpoint import write_safetensors
from music2latent.training.folder import read_state
from music2latent.training.loop import stop_signals
from music2latent.training.module import TrainingModule
from music2latent.training.run import Run
from music2latent.training.validation import Validated

from ..helpers import disk_with, posix, reference_checkpoint
from .small import CONFIG, RECIPE, SMALL, run_state, train_command, train_small


def test_stop_and_resume_is_the_straight_run(data: Path, tmp_path: Path) -> None:
    assert train_small(data, tmp_path / "straight") == 6
    assert train_small(data, tmp_path / "stopped", max_minutes=0) == 1
    assert train_small(data, tmp_path / "stopped", max_minutes=0) == 2
    workers = replace(CONFIG, recipe=replace(RECIPE, workers=1))  # with any number of workers
    assert train_small(data, tmp_path / "stopped", workers) == 6
    one, two = run_state(tmp_path / "straight"), run_state(tmp_path / "stopped")
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert read_state(tmp_path / "stopped" / "last.pt")["num_seen"] == 24


@posix
def test_two_processes_are_one_with_twice_the_batch(data: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, *train_command(data, tmp_path / "two")], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    train_small(data, tmp_path / "one")
    one, two = run_state(tmp_path / "one"), run_state(tmp_path / "two")
    assert all(torch.allclose(one[key], two[key], rtol=1e-3, atol=1e-4) for key in one)
    assert read_state(tmp_path / "two" / "last.pt")["num_seen"] == 24


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_a_stopped_run_goes_on(data: Path, tmp_path: Path, name: str) -> None:
    """SIGTERM, Ctrl-C and SIGHUP save first; after SIGKILL, at whatever moment, the last whole checkpoint is there."""
    if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        pytest.skip("ignored, as under nohup, and that is inherited")
    run = tmp_path / "run"
    command = [sys.executable, *train_command(data, run, "iterations=100000", "workers=2")]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
    while not (run / "last.pt").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.killpg(process.pid, getattr(signal, name))
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if name == "SIGKILL" else 0), said
    assert (said.count("stopping: this iteration is finished and saved") == 1) == (name != "SIGKILL")
    reached = read_state(run / "last.pt")["iteration"]
    assert reached >= 1
    config = replace(CONFIG, recipe=replace(RECIPE, iterations=reached + 2))
    assert train_small(data, run, config) == reached + 2


def test_full_disk_keeps_the_last_checkpoint(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_small(data, run, max_minutes=0)
    before = (run / "last.pt").read_bytes()
    with disk_with(50_000), pytest.raises(InputError, match=r"last.pt: cannot be written"):
        train_small(data, run)
    assert (run / "last.pt").read_bytes() == before
    assert not list(run.glob(".*partial*"))
    assert train_small(data, run) == 6


def test_steps_that_are_not_finite_are_skipped_and_then_stop_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = TrainingModule.forward, []

    def broken(self: TrainingModule, audio: torch.Tensor, *rest: torch.Tensor) -> object:
        calls.append(1)
        return forward(self, audio * (math.nan if len(calls) in broken_calls else 1), *rest)

    monkeypatch.setattr(TrainingModule, "forward", broken)
    broken_calls = {2, 3}
    assert train_small(data, tmp_path / "run", replace(CONFIG, recipe=replace(RECIPE, max_bad_iterations=3))) == 6
    assert all(torch.isfinite(value).all() for value in run_state(tmp_path / "run").values())
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert sum(line["skipped_iterations"] for line in lines) == 2
    calls.clear()
    broken_calls = {6}
    train_small(data, tmp_path / "end", replace(CONFIG, recipe=replace(RECIPE, save_every=100)))
    assert read_state(tmp_path / "end" / "last.pt")["iteration"] == 6, "a skipped iteration changes nothing to lose"
    calls.clear()
    broken_calls = set(range(2, 100))
    with pytest.raises(InputError, match="stopped at iteration 4: 3 iterations in a row"):
        train_small(data, tmp_path / "other", replace(CONFIG, recipe=replace(RECIPE, max_bad_iterations=3)))
    assert read_state(tmp_path / "other" / "last.pt")["iteration"] == 1


def test_collapse_is_said(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train_small(data, tmp_path / "run", replace(CONFIG, recipe=replace(RECIPE, iterations=1)))
    train_small(data, tmp_path / "ones", replace(CONFIG, recipe=replace(RECIPE, iterations=1, accumulate=4)))
    assert "collapsed" not in caplog.text, "passes of one crop are compared with each other"
    dead = dict(Autoencoder(SMALL).state_dict())
    dead["encoder.conv_out.weight"] = torch.zeros_like(dead["encoder.conv_out.weight"])
    checkpoint = replace(reference_checkpoint("tiny"), config=SMALL, state_dict=dead)
    write_safetensors(tmp_path / "dead.safetensors", checkpoint)
    recipe = replace(RECIPE, iterations=1, lr=1e-9, final_lr=1e-9)
    train_small(data, tmp_path / "two", replace(CONFIG, recipe=recipe), init_from=str(tmp_path / "dead.safetensors"))
    assert "the encoder has collapsed" in caplog.text


@posix
def test_signals_that_are_ignored_stay_so() -> None:
    """As nohup starts a run; and outside of the main thread no handler can be set."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_signals(print) as received:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not received
            os.kill(os.getpid(), signal.SIGTERM)
            assert received == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: list(stop_signals(print).gen)).result() == [[]]


class Killed(BaseException):
    """What no handler catches."""


def _states(run: Path) -> dict[str, object]:
    states = {name: read_state(run / f"{name}.pt") for name in ("last", "best")}
    keys = ("iteration", "best", "model", "ema")
    return {f"{name}.{key}": state[key] for name, state in states.items() for key in keys}


def test_best_survives_a_kill_at_any_checkpoint(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after every file that is written, a run is killed, and gone on with: the end is the straight run's."""
    resume, write = Run.resume, Run.write
    distances = {1: 6.0, 2: 8.0}  # the last is not the best
    moments = kill_at = 0
    now: list[Run] = []

    class Checks:
        def __init__(self, *_: object) -> None: ...

        def measure(self, _: object) -> Validated:
            distance = distances[now[-1].iteration]
            return Validated({"log_spectral_distance": distance}, torch.zeros(0), torch.zeros(0))

    def remember(self: Run) -> bool:
        now.append(self)
        return resume(self)

    def moment() -> None:
        nonlocal moments
        moments += 1
        if moments == kill_at:
            raise Killed

    def write_or_die(self: Run, name: str) -> None:
        moment()
        write(self, name)
        moment()

    monkeypatch.setattr("music2latent.training.loop.Validation", Checks)
    monkeypatch.setattr(Run, "resume", remember)
    monkeypatch.setattr(Run, "write", write_or_die)
    config = replace(CONFIG, recipe=replace(RECIPE, iterations=2, validate_every=1))
    train_small(data, tmp_path / "straight", config, validation=data)
    straight, total = _states(tmp_path / "straight"), moments
    assert (straight["best.best"], straight["best.iteration"], straight["last.iteration"]) == (6.0, 1, 2)
    assert total == 6
    for kill_at in range(1, total + 1):
        run, moments = tmp_path / str(kill_at), 0
        with pytest.raises(Killed):
            train_small(data, run, config, validation=data)
        train_small(data, run, config, validation=data)
        after = _states(run)
        assert after.pop("last.best") in (math.inf, 6.0)  # best.pt knows its own
        torch.testing.assert_close(after, {key: straight[key] for key in after}, rtol=0, atol=0)
