"""Steady tones in spectrograms, which convolutions, the same in every bin and column, can neither follow nor draw.

A window begins a quarter of its length after the last. So the phase of a tone in the middle of bin k goes on by k
quarters of a circle from column to column, another number in every bin. `steady` turns that back, for what reads
spectrograms; `Tones` draws what is steady (additive synthesis in the spectrum, as in DDSP, arXiv 2001.04643, and
Rodet and Depalle 1992), for the denoiser to begin with.
"""

from __future__ import annotations

import math
from functools import cache
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import TONE_PERIOD, ModelConfig
from ..spectrogram import compress
from .layers import zero_init

QUIET = -8.0
"""Levels that a new model begins with, in units of 10 dB over amplitude 1."""
LOUDEST = 1.0
"""What is told to be louder is not."""


def steady(x: Tensor) -> Tensor:
    """Spectrogram `[B, 2, F, T]`, bin k in column t turned by -k (t + 2) quarters of a circle.

    So phases count from the beginning of the signal and the middle of the window: a tone in the middle of a bin has one
    phase there in all columns.
    """
    bins, columns = (torch.arange(size, device=x.device) for size in x.shape[2:])
    quarters = bins[:, None] * (columns + 2) % 4
    odd = quarters % 2
    cos, sin = ((1 - quarters) * (1 - odd)).to(x.dtype), ((2 - quarters) * odd).to(x.dtype)
    real, imaginary = x.unbind(1)
    return torch.stack([real * cos + imaginary * sin, imaginary * cos - real * sin], 1)


@cache
def _oscillators(tones: int) -> np.ndarray:
    """cos and sin of the tones' phases where windows begin, `[2, tones, TONE_PERIOD]`.

    At the beginning phases are as good as random: were they the same, the tones would add up to clicks.
    """
    number = np.arange(tones)[:, None]
    turns = number * np.arange(TONE_PERIOD) / TONE_PERIOD + number**2 * (math.sqrt(5) - 1) / 4
    return np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)]).astype(np.float32)


class Tones(nn.Module):
    """Latents `[B, D, L]` -> spectrogram `[B, 2, F, T]` of tones half a bin apart, 2 F of them, with the levels that
    each latent tells."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.levels = zero_init(nn.Conv1d(config.latent_dim, config.n_fft, 1))
        """In units of 10 dB over amplitude 1."""
        cast(Tensor, self.levels.bias).data.fill_(QUIET)

    def forward(self, latents: Tensor) -> Tensor:
        amplitudes = 10 ** (self.levels(latents).float().clamp(max=LOUDEST) / 2)
        return draw(amplitudes, self.levels.out_channels).to(latents.dtype)


def draw(amplitudes: Tensor, n_fft: int) -> Tensor:
    """Amplitudes of as many tones as windows have samples, `[B, n_fft, L]` -> compressed spectrogram `[B, 2, F, T]`."""
    oscillators = torch.as_tensor(_oscillators(n_fft), device=amplitudes.device).repeat(1, 1, amplitudes.shape[2])
    faded = F.interpolate(amplitudes, scale_factor=float(TONE_PERIOD), mode="linear")[:, None]
    tones = faded * oscillators  # [B, 2, n_fft, T]
    even, odd = tones[:, :, ::2], tones[:, :, 1::2]
    # At x bins from a tone a Hann window of N samples has N sinc(x) / (2 (1 - x^2)), here halved, as a cosine is two
    # tones; the sign alternates from bin to bin, as phases count from the window's beginning.
    at_bins = even / 4 - (_up(even, 1) + _up(even, -1)) / 8
    near, far = 2 / (3 * math.pi), 2 / (15 * math.pi)
    between = near * (odd - _up(odd, 1)) + far * (_up(odd, 2) - _up(odd, -1))
    turned = torch.stack([-between[:, 1], between[:, 0]], 1)
    return compress(n_fft * (at_bins + turned))


def _up(x: Tensor, bins: int) -> Tensor:
    """`[B, 2, F, T]` moved by so many bins towards higher ones; what is moved out of it is lost."""
    return F.pad(x, (0, 0, bins, -bins))
