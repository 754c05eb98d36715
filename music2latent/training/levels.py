"""The noise levels of training: which pairs (sigma, sigma_next) are drawn (arXiv 2310.14189, section 3)."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from ..config import ModelConfig
from .config import Recipe


def sigma_of(u: Tensor, config: ModelConfig) -> Tensor:
    """sigma(u) = (sigma_min^(1/rho) + u (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho for u in [0, 1]."""
    low, high = config.sigma_min ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    return (low + u * (high - low)) ** config.rho


def gap(progress: float, recipe: Recipe) -> float:
    """Distance in u of a pair of noise levels: from first_gap down to last_gap, exponentially.

    With the official numbers it is 0.1^(1 + 2 k / K) at progress k / K.
    """
    return float(recipe.first_gap * (recipe.last_gap / recipe.first_gap) ** progress)


def draw_sigmas(
    count: int, progress: float, config: ModelConfig, recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Noise levels (sigma, sigma_next), each `[count]` float64, sigma > sigma_next.

    u is one of `noise_levels` grid points, weighted by N(log sigma(u); P_mean, P_std), plus a jitter up to the next.
    """
    grid, weights = _levels(recipe.noise_levels, recipe.P_mean, recipe.P_std, config)
    points = torch.multinomial(weights, count, replacement=True, generator=generator)
    jitter = torch.rand(count, dtype=torch.float64, generator=generator) / recipe.noise_levels
    u = grid[points] + jitter
    # u itself may lie below one gap; then the neighbour is sigma_min, and the two must not meet.
    u = u.clamp(min=1e-6)
    return sigma_of(u, config), sigma_of((u - gap(progress, recipe)).clamp(min=0), config)


@cache
def _levels(count: int, P_mean: float, P_std: float, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Grid points u and their weights, each `[count]`."""
    grid = torch.arange(count, dtype=torch.float64) / count
    weights = -0.5 * ((sigma_of(grid, config).log() - P_mean) / P_std) ** 2
    return grid, torch.exp(weights - weights.max())  # one is 1, however far P_mean lies from all levels
