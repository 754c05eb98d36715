"""Figures of latents whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch

from music2latent.evaluation.latent_figures import latent_figures, predictability


def walk(memory: float, pieces: int = 5) -> list[torch.Tensor]:
    """Pieces of two channels of 8 latent channels, each `memory` times the one before plus new noise, variance 1."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(2000, pieces, 2, 8, generator=generator)
    values = [steps[0]]
    for step in steps[1:]:
        values.append(memory * values[-1] + math.sqrt(1 - memory**2) * step)
    return list(torch.stack(values).permute(1, 2, 3, 0))


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_what_the_latent_before_predicts(memory: float) -> None:
    assert predictability(walk(memory)) == pytest.approx(memory**2, abs=0.02)


def test_a_piece_is_predicted_from_others_alone() -> None:
    """Noise fitted to itself would look predictable: here are as many coefficients as numbers."""
    generator = torch.Generator().manual_seed(0)
    assert predictability([torch.randn(1, 64, 30, generator=generator) for _ in range(4)]) < 0


def test_figures_of_noise() -> None:
    found = latent_figures(walk(0.0))
    assert found["latent_dim"] == 8
    assert found["effective_dimension"] == pytest.approx(8, rel=0.01)
    assert math.isnan(latent_figures(walk(0.0, pieces=1))["predictability"])
