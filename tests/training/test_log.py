"""What a run logs."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

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
