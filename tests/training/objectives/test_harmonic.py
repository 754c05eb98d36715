"""What the harmonic objective hears, and that every objective teaches encoder and decoder."""

from __future__ import annotations

import math

import pytest
import torch

from music2latent.stft import magnitudes
from music2latent.training.objectives import Dimension, Harmonic, Objective, Waveform
from music2latent.training.objectives.dimension import effective_dimension
from music2latent.training.objectives.harmonic import convergence, weighted_log_difference
from music2latent.training.step import TrainingStep

from ..small import small_model, step_inputs


def test_a_wrong_partial_counts_more_than_a_wrong_floor() -> None:
    t = torch.arange(32768) / 44100
    floor = 1e-3 * torch.randn(1, 32768, generator=torch.Generator().manual_seed(0))
    tone = 0.5 * torch.sin(2 * math.pi * 1000 * t)[None]
    wanted, other_floor, other_tone = (
        magnitudes(x, 8192, pad=True) for x in (tone + floor, tone + floor.flip(1), 0.5 * tone + floor)
    )
    assert weighted_log_difference(wanted, wanted, 0.6).item() == 0
    assert weighted_log_difference(other_floor, wanted, 0.6) < 0.7 * weighted_log_difference(other_floor, wanted, 0.0)
    assert convergence(other_floor, wanted) < 0.1 * convergence(other_tone, wanted)


def test_effective_dimension_of_known_covariances() -> None:
    one = torch.randn(1, 1, 4096, generator=torch.Generator().manual_seed(0))
    assert effective_dimension(one.expand(1, 8, -1)).item() == pytest.approx(1)
    assert effective_dimension(torch.randn(4, 8, 4096)).item() == pytest.approx(8, rel=0.01)


@pytest.mark.parametrize("objective", [Harmonic(sizes=(64, 128)), Waveform(sizes=(64, 128)), Dimension()])
def test_gradient_reaches_the_encoder(objective: Objective) -> None:
    model = small_model()
    losses = TrainingStep(model, {"it": objective})(*step_inputs())
    losses.loss.backward()
    gradient = model.encoder.conv_inp.weight.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
