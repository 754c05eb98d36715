"""Steady tones in spectrograms, which convolutions, the same in every bin and column, can neither follow nor draw.

A window begins a quarter of its length after the last. So the phase of a tone in the middle of bin k goes on by k
quarters of a circle from column to column, another number in every bin. `steady` turns that back, for what reads
spectrograms; `measure` tells the levels of steady tones, and `Tones` draws them (additive synthesis in the spectrum, as
in DDSP, arXiv 2001.04643, and Rodet and Depalle 1992), for the denoiser to begin with.
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
from ..devices import without_autocast
from ..spectrogram import compress, expand
from .layers import zero_init

QUIET = -8.0
"""Levels that a new model begins with, in units of 10 dB over amplitude 1."""
LOUDEST = 1.0
"""What is told to be louder is not."""
MIDDLE = -6.0
"""What measured levels count from, so that most are near 0, in the same units."""
UNHEARD = -10.0
"""The least that is measured."""


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


# At x bins from a tone a Hann window of N samples has N sinc(x) / (2 (1 - x^2)), and half of that, as a cosine is two
# tones; the sign alternates from bin to bin, as phases count from the window's beginning.
NEAR, FAR = 2 / (3 * math.pi), 2 / (15 * math.pi)
"""Half a bin and one and a half from a tone, relative to N."""


@cache
def _kernels() -> np.ndarray:
    """What a bin has of a tone in its middle, and of one half a bin above, from one bin below to two above, with the
    norm that makes a sum of products the tone's amplitude, `[2, 4]`."""
    kernels = np.array([[-1 / 8, 1 / 4, -1 / 8, 0], [-FAR, NEAR, -NEAR, FAR]])
    return (kernels / np.square(kernels).sum(1, keepdims=True)).astype(np.float32)


@cache
def _window() -> np.ndarray:
    """Weights of the columns of the latent before, of the latent itself and of the one after, of sum 1: Hann."""
    places = (np.arange(3 * TONE_PERIOD) + 0.5) / TONE_PERIOD - 1.5  # in latents, from the middle
    hann = np.cos(np.pi / 2 * np.clip(places, -1, 1)) ** 2
    return (hann / TONE_PERIOD).reshape(3, TONE_PERIOD).astype(np.float32)


@cache
def _turns() -> np.ndarray:
    """The Fourier transform of TONE_PERIOD complex numbers, real parts first, as a real matrix."""
    roots = np.exp(-2j * np.pi * np.outer(*2 * [np.arange(TONE_PERIOD)]) / TONE_PERIOD)
    return np.block([[roots.real, roots.imag], [-roots.imag, roots.real]]).astype(np.float32)


def measure(spectrogram: Tensor) -> Tensor:
    """Compressed spectrogram `[B, 2, F, T]` -> levels of tones half a bin apart in Hann windows of two latents,
    `[B, 2 F, L]`, in units of 10 dB over `MIDDLE`.

    It is the adjoint of `draw`, but for the window: a steady tone has the level that it was drawn with. Beyond its ends
    a spectrogram goes on as its first and last latent are.
    """
    device, n_fft = spectrogram.device, 2 * spectrogram.shape[2]
    c = expand(spectrogram.float()).unflatten(3, (-1, TONE_PERIOD))  # [B, 2, F, L, 8]
    before, after = torch.cat([c[..., :1, :], c[..., :-1, :]], 3), torch.cat([c[..., 1:, :], c[..., -1:, :]], 3)
    # A tone of number k goes on by k / TONE_PERIOD of a circle from column to column, so columns that far apart can be
    # added before they are turned, and there are only so many turns.
    folded = sum(
        part * torch.as_tensor(w, device=device) for part, w in zip((before, c, after), _window(), strict=True)
    )
    with without_autocast(device):
        turned = folded.permute(0, 2, 3, 1, 4).flatten(3) @ torch.as_tensor(_turns(), device=device)
    # [B, L, 2, bins, turns], from one bin below the lowest to two above the highest
    bins = F.pad(turned.unflatten(3, (2, -1)).permute(0, 2, 3, 1, 4), (0, 0, 1, 2)).flatten(3)
    number = torch.arange(n_fft, device=device)
    kernels = torch.as_tensor(_kernels(), device=device)[number % 2].T
    first = number // 2 * TONE_PERIOD + number % TONE_PERIOD
    found = sum(weight * bins[..., first + offset * TONE_PERIOD] for offset, weight in enumerate(kernels))
    power = (found / n_fft).square().sum(2).transpose(1, 2)
    return (power + 10**UNHEARD).log10() - MIDDLE


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
    at_bins = even / 4 - (_up(even, 1) + _up(even, -1)) / 8
    between = NEAR * (odd - _up(odd, 1)) + FAR * (_up(odd, 2) - _up(odd, -1))
    turned = torch.stack([-between[:, 1], between[:, 0]], 1)
    return compress(n_fft * (at_bins + turned))


def _up(x: Tensor, bins: int) -> Tensor:
    """`[B, 2, F, T]` moved by so many bins towards higher ones; what is moved out of it is lost."""
    return F.pad(x, (0, 0, bins, -bins))
