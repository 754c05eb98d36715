"""The smallest model that is one, and a run of a few iterations."""

from __future__ import annotations

from dataclasses import replace

from music2latent.config import PRESETS
from music2latent.training.config import Recipe, TrainingConfig

# The smallest model that is one: quick, and every layer is there.
SMALL = replace(
    PRESETS["tiny"], hop_length=64, layers_list=(1, 1, 1, 1, 1), bottleneck_base_channels=16, num_bottleneck_layers=1
)
RECIPE = Recipe(
    iterations=6,
    batch_size=4,
    crop_frames=16,
    workers=0,
    lr=1e-3,
    warmup=2,
    precision="no",
    init="variance_preserving",
    spectral_weight=0.5,
    spectral_sizes=(64, 128),
    log_every=1,
    validate_every=3,
    save_every=1,
)
CONFIG = TrainingConfig(SMALL, RECIPE)
