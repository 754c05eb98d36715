"""Noise: the levels that sampling walks through, and Gaussian noise keyed to absolute position."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from .config import ModelConfig


def sigma_levels(config: ModelConfig, num_steps: int) -> list[float]:
    """Noise levels from sigma_max down to sigma_min or the model's floor, num_steps + 1 of them (EDM, arXiv
    2206.00364, eq. 5). The last is where sampling ends: nothing is denoised from there."""
    lowest = max(config.sigma_min, config.sigma_floor)
    low, high = lowest ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    return [(low + i / num_steps * (high - low)) ** config.rho for i in range(num_steps, -1, -1)]


def renoise_scale(sigma: float, sigma_min: float) -> float:
    """Standard deviation that takes a clean sample (noise level sigma_min) to level sigma."""
    return math.sqrt(max(sigma**2 - sigma_min**2, 0.0))  # the last level's difference may round below zero


def keyed_noise(seed: int, step: int, start: int, stop: int, config: ModelConfig) -> Tensor:
    """Standard normal noise for the latents [start, stop) of a signal, `[2, F, T]`.

    Every latent's share is drawn from a stream of its own, keyed by (seed, step, its absolute position). So noise
    is the same however a signal is cut into chunks, and the same for all channels: equal channels stay equal.
    """
    shape = (2, config.bins, config.columns_per_latent)
    blocks = [
        np.random.default_rng((seed, step, position)).standard_normal(shape, dtype=np.float32)
        for position in range(start, stop)
    ]
    return torch.from_numpy(np.concatenate(blocks, axis=-1))
