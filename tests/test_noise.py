"""Noise levels, and noise keyed to position."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from music2latent.config import PRESETS
from music2latent.noise import keyed_noise, renoise_scale, sigma_levels

CONFIG = PRESETS["tiny"]


def test_levels_run_from_sigma_max_to_sigma_min() -> None:
    assert sigma_levels(CONFIG, 1) == pytest.approx([80, 0.002])
    levels = sigma_levels(CONFIG, 10)
    assert len(levels) == 11
    assert levels == sorted(levels, reverse=True)
    roots = [level ** (1 / 7) for level in levels]
    steps = [a - b for a, b in itertools.pairwise(roots)]
    assert steps == pytest.approx([steps[0]] * 10)
    assert sigma_levels(replace(CONFIG, sigma_floor=5.0), 2) == pytest.approx([80, 22.92, 5], abs=0.01)


def test_renoise_scale_never_fails_at_the_last_level() -> None:
    assert renoise_scale(0.002 - 1e-18, 0.002) == 0
    assert renoise_scale(0.002 * (1 - 1e-9), 0.002) == 0
    assert renoise_scale(80, 0.002) == pytest.approx(80)


def test_noise_is_the_same_however_it_is_cut() -> None:
    whole = keyed_noise(3, 0, 0, 12, CONFIG)
    parts = [keyed_noise(3, 0, a, b, CONFIG) for a, b in [(0, 5), (5, 6), (6, 12)]]
    assert torch.equal(torch.cat(parts, dim=-1), whole)


def test_noise_is_standard_normal_and_keyed_by_everything() -> None:
    whole = keyed_noise(3, 0, 0, 16, CONFIG)
    assert whole.shape == (2, 1024, 128)
    assert whole.mean().item() == pytest.approx(0, abs=0.01)
    assert whole.std().item() == pytest.approx(1, abs=0.01)
    for other in (
        keyed_noise(4, 0, 0, 16, CONFIG),
        keyed_noise(3, 1, 0, 16, CONFIG),
        keyed_noise(3, 0, 16, 32, CONFIG),
    ):
        assert abs((whole * other).mean().item()) < 0.01  # independent
