"""Noise levels of training."""

from __future__ import annotations

import math

import pytest
import torch

from music2latent.config import PRESETS
from music2latent.training.config import Recipe
from music2latent.training.levels import draw_sigmas, gap, sigma_of
from music2latent.training.run import learning_rate

OFFICIAL = PRESETS["official"]


def test_ends_of_the_schedules() -> None:
    recipe = Recipe()
    assert gap(0, recipe) == pytest.approx(0.1)
    assert gap(0.25, recipe) == pytest.approx(0.1 ** (1 + 2 * 0.25))
    assert gap(1, recipe) == pytest.approx(0.001)
    assert sigma_of(torch.tensor([0.0, 1.0], dtype=torch.float64), OFFICIAL).tolist() == pytest.approx([0.002, 80])
    assert learning_rate(0, recipe) == pytest.approx(1e-4)
    assert learning_rate(9_999, recipe) == pytest.approx(1)
    assert learning_rate(405_000, recipe) == pytest.approx(0.5 * (1 + 0.01))
    assert learning_rate(800_000, recipe) == pytest.approx(0.01)


def test_noise_levels_follow_the_normal_law() -> None:
    """Weights N(log sigma; P_mean, P_std) on a grid that is even in u, so with density d u / d log sigma on top."""
    sigma, sigma_next = draw_sigmas(200_000, 0.5, OFFICIAL, Recipe(), torch.Generator().manual_seed(0))
    assert (sigma > sigma_next).all()
    assert sigma_next.min() >= 0.002
    assert sigma.max() <= 80.01
    u = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    log_sigma = sigma_of(u, OFFICIAL).log()
    weights = torch.exp(-0.5 * ((log_sigma + 1.1) / 2) ** 2)
    mean = float((weights * log_sigma).sum() / weights.sum())
    spread = math.sqrt(float((weights * (log_sigma - mean) ** 2).sum() / weights.sum()))
    assert sigma.log().mean().item() == pytest.approx(mean, abs=0.02)
    assert sigma.log().std().item() == pytest.approx(spread, abs=0.02)
    far = sigma > 1  # away from the lower end the pair is one step apart in u

    def u_of(s: torch.Tensor) -> torch.Tensor:
        low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
        return (s ** (1 / 7) - low) / (high - low)

    assert (u_of(sigma[far]) - u_of(sigma_next[far])).numpy() == pytest.approx(0.01)


@pytest.mark.parametrize("P_mean", [-20.0, 20.0])
@pytest.mark.parametrize("P_std", [1e-3, 1e3])
@pytest.mark.parametrize("noise_levels", [1, 2, 9999])
def test_the_ends_of_the_ranges_give_levels_too(P_mean: float, P_std: float, noise_levels: int) -> None:
    recipe = Recipe(P_mean=P_mean, P_std=P_std, noise_levels=noise_levels, first_gap=1e-6, last_gap=1e-6)
    sigma, sigma_next = draw_sigmas(100, 0.5, OFFICIAL, recipe, torch.Generator().manual_seed(0))
    assert (1 / (sigma - sigma_next)).float().isfinite().all()
    assert (sigma > sigma_next).all()
