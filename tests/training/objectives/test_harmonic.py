"""The harmonic objective hears partials before what lies between them."""

from __future__ import annotations

import math

import torch

from music2latent.stft import magnitudes
from music2latent.training.objectives.harmonic import weighted_log_difference
from music2latent.training.objectives.spectral import convergence


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
