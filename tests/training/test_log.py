"""What a run logs."""

from __future__ import annotations

import json
import math
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from music2latent.training.log import Log, Totals, duration

from .small import CONFIG, RECIPE, train_small


def test_a_run_learns_and_logs(data: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, iterations=30, validate_every=10)
    train_small(data, tmp_path / "run", replace(CONFIG, recipe=recipe), validation=data)
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


def test_what_is_going_on_is_said(data: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    recipe = replace(RECIPE, iterations=2, validate_every=2)
    config = replace(CONFIG, recipe=recipe)
    train_small(data, tmp_path / "run", config, validation=data, say=lines.append)
    start = ["data: looking into 3 audio files", "data: 3 s of audio"]
    assert [line.rpartition("/")[2] for line in lines[:4]] == 2 * start
    assert re.match(r"[\d.]+ M parameters on \w+, precision no; 2 iterations of 4 crops of 0.03 s; beginning", lines[4])
    assert re.fullmatch(r"iteration 1 of 2: loss [\d.]+", lines[5])
    assert lines[-2] == "iteration 2: validating"
    assert re.fullmatch(r"iteration 2: log-spectral distance [\d.]+ dB, the best so far", lines[-1])


def test_lines_grow_rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    clock = iter(range(10**6))
    log = Log(tmp_path, 100_000, lines.append, enabled=True)
    with log.writing(0):
        monkeypatch.setattr("music2latent.training.log.time.perf_counter", lambda: float(next(clock)))
        totals = Totals()
        totals.add(loss=2.0)
        for iteration in range(1, 7201):  # a second each
            log.advance(iteration, 8, totals)
    assert lines[0] == "iteration 1 of 100000: loss 2"
    assert lines[1] == "iteration 6 of 100000: loss 2, 8.0 crops/s, 27.8 h left"
    assert 12 < len(lines) < 24  # two hours


def test_without_tensorboard(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    train_small(data, tmp_path / "run", max_minutes=0, say=lines.append)
    assert len([line for line in lines if "pip install tensorboard" in line]) == 1
    assert len((tmp_path / "run" / "stats.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (9000, "2.5 h")]
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
