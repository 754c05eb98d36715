"""Bands are as wide as they say, and hear a level where it is heard."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from music2latent.training.objectives import Bands
from music2latent.training.objectives.bands import band_filters

from ..small import small_batch


def test_bands_are_a_quarter_tone_apart_and_wide() -> None:
    filters = torch.from_numpy(band_filters(8192, 44100, 24))
    bins = torch.arange(4097) * 44100 / 8192
    centres = (filters @ bins) / filters.sum(1)
    assert centres[1:] / centres[:-1] == pytest.approx(2 ** (1 / 24), rel=0.03)
    covered = filters.sum(0)[(bins > 1.1 * centres[0]) & (bins < 0.9 * centres[-1])]
    assert covered.numpy() == pytest.approx(1, abs=0.02), "what one band lets go its neighbour takes"
    assert float(centres[0]) == pytest.approx(2 * 44100 / 8192 / (2 ** (1 / 24) - 1), rel=0.05)


def test_a_level_is_heard_in_decibels_down_to_the_floor() -> None:
    batch = small_batch()
    objective = Bands(sizes=(128,), per_octave=3)

    def loss(decoded: torch.Tensor) -> float:
        found = dataclasses.replace(batch)
        found.__dict__["decoded"] = decoded
        return float(objective(found)[0])

    assert loss(batch.original) == 0
    assert loss(2 * batch.original) == pytest.approx(2 * math.log10(2), rel=0.05)
    assert loss(batch.original + 1e-6 * torch.randn_like(batch.original)) < 1e-3
