"""Loudness hears energy where it is, and not how it is spread within an octave."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from music2latent.training.objectives import Bands, Batch, Loudness

from ..small import small_batch

SIZES = (128,)


def heard(batch: Batch, decoded: torch.Tensor, original: torch.Tensor, objective: Bands) -> tuple[float, float]:
    """Loss, and how much too loud in dB."""
    found = dataclasses.replace(batch, audio=torch.nn.functional.pad(original, 2 * [batch.model.config.edge]))
    found.__dict__["decoded"] = decoded
    loss, figures = objective(found)
    return float(loss), float(figures["louder"])


def test_noise_as_loud_as_other_noise_costs_little_and_quieter_noise_what_it_lacks() -> None:
    batch = small_batch()
    one, other = torch.randn(2, *batch.original.shape, generator=torch.Generator().manual_seed(0))
    objective, bins = Loudness(sizes=SIZES, block=256), Bands(sizes=SIZES, per_octave=3)
    assert heard(batch, one, one, objective) == (0, 0)
    loss, louder = heard(batch, other, one, objective)
    assert loss < 0.15, "energy is known where magnitudes are not"
    assert abs(louder) < 1
    assert heard(batch, other, one, bins)[0] > 2 * loss
    loss, louder = heard(batch, one / 2, one, objective)
    assert loss == pytest.approx(2 * math.log10(2), rel=0.01)
    assert louder == pytest.approx(-20 * math.log10(2), rel=0.01)
