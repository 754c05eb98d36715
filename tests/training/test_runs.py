"""Whole runs: resumed, stopped, on two processes, on a full disk, exported."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from music2latent import InputError, load_model
from music2latent.autoencoder import Autoencoder
from music2latent.checkpoint import read_checkpoint, write_safetensors
from music2latent.config import PRESETS
from music2latent.spectrogram import spectrogram
from music2latent.training.config import TrainingConfig
from music2latent.training.data import Crops, index_folder
from music2latent.training.export import export_weights
from music2latent.training.folder import locked, read_state
from music2latent.training.loop import flattened, train
from music2latent.training.step import (
    ConsistencyTraining,
    initialise,
)

from ..cli.test_coding import Result
from ..helpers import reference_checkpoint, sound
from ..test_audio import disk_with
from .small import CONFIG, RECIPE, SMALL

ROOT = Path(__file__).parents[2]
OFFICIAL = PRESETS["official"]


def _train(data: Path, run: Path, config: TrainingConfig = CONFIG, **options: object) -> int:
    return train(config, [(data, 1.0)], run, **options)  # type: ignore[arg-type]


def _state(run: Path) -> dict[str, torch.Tensor]:
    state = read_state(run / "last.pt")
    return {f"{part}.{key}": value for part in ("model", "ema") for key, value in state[part].items()}


def test_stop_and_resume_is_the_straight_run(data: Path, tmp_path: Path) -> None:
    assert _train(data, tmp_path / "straight") == 6
    assert _train(data, tmp_path / "stopped", max_minutes=0) == 1
    assert _train(data, tmp_path / "stopped", max_minutes=0) == 2
    workers = replace(CONFIG, recipe=replace(RECIPE, workers=1))  # with any number of workers
    assert _train(data, tmp_path / "stopped", workers) == 6
    one, two = _state(tmp_path / "straight"), _state(tmp_path / "stopped")
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert read_state(tmp_path / "stopped" / "last.pt")["num_seen"] == 24


def test_a_run_learns_and_reports(data: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, iterations=30, validate_every=10)
    _train(data, tmp_path / "run", replace(CONFIG, recipe=recipe), validation=data)
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["iteration"] for line in steps] == list(range(1, 31))
    for key in ("lr", "gradient_norm", "latent_spread", "crops_per_second", "waiting_for_data", "num_seen"):
        assert all(math.isfinite(line[key]) for line in steps)
    first, last = (np.mean([line["spectral"] for line in part]) for part in (steps[:5], steps[-5:]))
    assert last < first
    checks = [line["validation/spectral_distance"] for line in lines if "validation/spectral_distance" in line]
    assert len(checks) == 3
    assert checks[-1] < checks[0]
    board = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "run" / "tensorboard")).Reload()
    for plugin, shown in (
        ("scalars", {"loss", "lr", "gradient_norm", "latent_spread", "validation/spectral_distance"}),
        ("audio", {"clip 0/original", "clip 0/reconstruction"}),
        ("images", {"spectrogram 0/original", "spectrogram 0/reconstruction"}),
    ):  # a tag belongs to the first plugin that writes it; what another writes under it is never shown
        assert shown <= set(board.PluginRunToTagToContent(plugin)["."])
    assert (tmp_path / "run" / "best.pt").exists()


def test_a_flattened_model_learns_as_its_many_parameters() -> None:
    many, one = (Autoencoder(SMALL).to(memory_format=torch.channels_last) for _ in range(2))  # type: ignore[call-overload]
    initialise(many, RECIPE)
    one.load_state_dict(many.state_dict())
    flat = flattened(one)
    optimizers = [torch.optim.RAdam(many.parameters(), lr=1e-2), torch.optim.RAdam([flat], lr=1e-2)]
    audio = torch.from_numpy(sound(2, 6000))
    for _ in range(7):  # the sixth is the first that RAdam rectifies
        for model, optimizer in zip((many, one), optimizers, strict=True):
            optimizer.zero_grad(set_to_none=False)
            model.encoder(spectrogram(audio, SMALL.hop_length)).square().sum().backward()
            optimizer.step()
    for (name, a), b in zip(many.named_parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


def test_accumulated_passes_are_one_batch(data: Path, tmp_path: Path) -> None:
    _train(data, tmp_path / "whole")
    _train(data, tmp_path / "parts", replace(CONFIG, recipe=replace(RECIPE, accumulate=2)))
    one, two = _state(tmp_path / "whole"), _state(tmp_path / "parts")
    assert all(torch.allclose(one[key], two[key], rtol=1e-3, atol=1e-4) for key in one)


def _command(data: Path, run: Path, *settings: str) -> list[str]:
    values = CONFIG.to_dict()["training"] | dict(setting.split("=") for setting in settings)
    model = {key: value for key, value in SMALL.to_dict().items() if value != OFFICIAL.to_dict()[key]}
    options = [
        f"--set={key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in values.items()
    ]
    options += [f"--set=model.{key}={value}" for key, value in model.items()]
    path = str(ROOT / "configs" / "official.toml")
    return ["-m", "music2latent", "train", path, f"--data={data}", f"--output={run}", *options]


def test_two_processes_are_one_with_twice_the_batch(data: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, *_command(data, tmp_path / "two")], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    _train(data, tmp_path / "one")
    one, two = _state(tmp_path / "one"), _state(tmp_path / "two")
    assert all(torch.allclose(one[key], two[key], rtol=1e-3, atol=1e-4) for key in one)
    assert read_state(tmp_path / "two" / "last.pt")["num_seen"] == 24


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on(data: Path, tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C save first; after SIGKILL, at whatever moment, the last whole checkpoint is there.

    They go to the whole group, as terminals and schedulers send them: to the processes that read data as well.
    """
    run = tmp_path / "run"
    command = [sys.executable, *_command(data, run, "iterations=100000", "workers=2")]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
    while not (run / "last.pt").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 0), said
    reached = read_state(run / "last.pt")["iteration"]
    assert reached >= 1
    config = replace(CONFIG, recipe=replace(RECIPE, iterations=reached + 2))
    assert _train(data, run, config) == reached + 2


def test_two_runs_on_one_folder(data: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(InputError, match="another run is training there"):
        _train(data, tmp_path / "run")


def test_another_configuration_is_refused(data: Path, tmp_path: Path) -> None:
    _train(data, tmp_path / "run", max_minutes=0)
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(InputError, match=r"training.lr was 0.001, now 0.5; choose another --output"):
        _train(data, tmp_path / "run", replace(CONFIG, recipe=replace(RECIPE, lr=0.5)))
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True) | {"version": 2}
    torch.save(state, tmp_path / "run" / "last.pt")
    with pytest.raises(InputError, match="written by version 2 of the trainer, this one reads 1"):
        _train(data, tmp_path / "run")
    (tmp_path / "run" / "last.pt").write_bytes(before[:1000])
    with pytest.raises(InputError, match="damaged, or not a training checkpoint"):
        _train(data, tmp_path / "run")


def test_full_disk_keeps_the_last_checkpoint(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _train(data, run, max_minutes=0)
    before = (run / "last.pt").read_bytes()
    with disk_with(50_000), pytest.raises(InputError, match=r"last.pt: cannot be written"):
        _train(data, run)
    assert (run / "last.pt").read_bytes() == before
    assert not list(run.glob(".*partial*"))
    assert _train(data, run) == 6


def test_steps_that_are_not_finite_are_skipped_and_then_stop_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = ConsistencyTraining.forward, []

    def broken(self: ConsistencyTraining, audio: torch.Tensor, *rest: torch.Tensor) -> object:
        calls.append(1)
        return forward(self, audio * (math.nan if len(calls) in broken_calls else 1), *rest)

    monkeypatch.setattr(ConsistencyTraining, "forward", broken)
    broken_calls = {2, 3}
    assert _train(data, tmp_path / "run", replace(CONFIG, recipe=replace(RECIPE, max_bad_steps=3))) == 6
    assert all(torch.isfinite(value).all() for value in _state(tmp_path / "run").values())
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert sum(line["skipped_steps"] for line in lines) == 2
    calls.clear()
    broken_calls = set(range(2, 100))
    with pytest.raises(InputError, match="stopped at iteration 4: 3 steps in a row"):
        _train(data, tmp_path / "other", replace(CONFIG, recipe=replace(RECIPE, max_bad_steps=3)))
    assert read_state(tmp_path / "other" / "last.pt")["iteration"] == 1


def test_collapse_is_said(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _train(data, tmp_path / "run", replace(CONFIG, recipe=replace(RECIPE, iterations=1)))
    assert "collapsed" not in caplog.text
    dead = dict(Autoencoder(SMALL).state_dict())
    dead["encoder.conv_out.weight"] = torch.zeros_like(dead["encoder.conv_out.weight"])
    checkpoint = replace(reference_checkpoint("tiny"), config=SMALL, state_dict=dead)
    write_safetensors(tmp_path / "dead.safetensors", checkpoint)
    recipe = replace(RECIPE, iterations=1, lr=1e-9, final_lr=1e-9)
    _train(data, tmp_path / "two", replace(CONFIG, recipe=recipe), init_from=str(tmp_path / "dead.safetensors"))
    assert "the encoder has collapsed" in caplog.text


def test_fine_tuning_from_a_published_checkpoint(data: Path, tmp_path: Path) -> None:
    weights = dict(reference_checkpoint("tiny").state_dict)
    torch.save({"gen_state_dict": weights}, tmp_path / "published.pt")
    model = replace(PRESETS["tiny"], heads=4)
    config = TrainingConfig(model, replace(RECIPE, iterations=1, batch_size=1, lr=1e-9, final_lr=1e-9))
    train(config, [(data, 1.0)], tmp_path / "run", init_from=str(tmp_path / "published.pt"))
    state = _state(tmp_path / "run")
    assert all(torch.allclose(state[f"model.{key}"], weight, atol=1e-6) for key, weight in weights.items())
    with pytest.raises(
        InputError, match=r"a model of another configuration: layers_list .*hop_length 512 instead of 64"
    ):
        _train(data, tmp_path / "other", init_from=str(tmp_path / "published.pt"))


def test_export(data: Path, tmp_path: Path) -> None:
    _train(data, tmp_path / "run")
    done = Result("export-weights", tmp_path / "run", tmp_path / "out.safetensors", "--half")
    assert done.code == 0, done.err
    exported = read_checkpoint(tmp_path / "out.safetensors")
    ema = read_state(tmp_path / "run" / "last.pt")["ema"]
    assert all(torch.equal(w, ema[f"module.{key}"].half()) for key, w in exported.state_dict.items())
    assert "trained 6 iterations, 24 crops" in exported.provenance
    from music2latent.spectrogram import frame

    crops = Crops([index_folder(data, 1.0, tmp_path)], 44100, CONFIG.crop_samples, seed=0, min_rms=0.001)
    model = load_model(tmp_path / "out.safetensors")
    with torch.no_grad():
        latents = torch.cat([model.encode(frame(crops[i][None], SMALL.hop_length)) for i in range(64)])
    scaled = latents / exported.latent_scale
    assert scaled.square().mean().sqrt().item() == pytest.approx(1, abs=0.1)
    assert exported.latent_mean == pytest.approx(latents.mean((0, 2)).tolist(), abs=0.1)
    assert "[training]" in (tmp_path / "out.md").read_text()
    with pytest.raises(InputError, match=r"no such checkpoint; expected the --output folder"):
        export_weights(tmp_path, tmp_path / "b.safetensors")


def test_command_line(data: Path, tmp_path: Path) -> None:
    arguments = _command(data, tmp_path / "run")[2:]
    done = Result(*arguments, "--decode-to", tmp_path / "decoded", "--max-minutes", "0")
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path}/run: at iteration 1 of 6\n"
    assert len(list((tmp_path / "decoded").iterdir())) == 3
    assert Result("train", ROOT / "configs" / "tiny.toml").code == 2
    typo = Result("train", ROOT / "configs" / "tiny.toml", "--set", "lrr=1", "--dry-run")
    assert (typo.code, len(typo.err.splitlines())) == (1, 1)
    empty = Result("train", ROOT / "configs" / "tiny.toml", "--data", tmp_path / "no", "-o", tmp_path / "r")
    assert "no such folder of audio" in empty.err
