"""A linear readout of the latents tells what the audio's levels are: finely in frequency, and finely in time.

It teaches the encoder without the way through both decoding networks; where nothing else is asked for, an iteration
costs a quarter. A linear readout of an inner layer as a figure is Alain and Bengio's (arXiv 1610.01644); as a loss of
its own it is deep supervision (Lee et al., arXiv 1409.5185).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...config import ModelConfig
from ...stft import SILENT
from ..ranges import WEIGHT, within
from .bands import band_filters
from .batch import Batch, Stage
from .linear_readout import LinearReadout

DECIBELS = 70.0
"""Levels so far under the loudest band of a crop are not told apart."""
FINE, COARSE = 24, 3
"""Bands per octave in windows of two latents, and in windows of a column."""


@cache
def _filters(n_fft: int, sample_rate: int, per_octave: int) -> np.ndarray:
    """Single bins where bands are narrower than two, then bands, `[bands, n_fft / 2 + 1]`."""
    bands = band_filters(n_fft, sample_rate, per_octave)
    first = int(bands.any(0).argmax()) if len(bands) else n_fft // 2 + 1
    return np.concatenate([np.eye(n_fft // 2 + 1, dtype=np.float32)[1:first], bands])


def _filters_on(audio: Tensor, n_fft: int, sample_rate: int, per_octave: int) -> Tensor:
    return torch.as_tensor(_filters(n_fft, sample_rate, per_octave), device=audio.device).T


def bin_power(audio: Tensor, size: int, hop: int) -> Tensor:
    """Of Hann windows of `size` samples, `hop` apart: `[B, n]` -> `[B, T, size / 2 + 1]`."""
    window = torch.hann_window(size, device=audio.device) / math.sqrt(size)
    return torch.fft.rfft(audio.unfold(1, size, hop) * window).abs().square()


def levels_of(power: Tensor) -> Tensor:
    """In units of 10 dB, down to the crop's floor, `[B, T, bands]`."""
    return floored((power + SILENT**2).log10())


def floored(levels: Tensor) -> Tensor:
    """Levels `[B, ...]` in units of 10 dB, none lower than `DECIBELS` under the loudest of each crop."""
    return levels.maximum(levels.flatten(1).amax(1).view(-1, *[1] * (levels.ndim - 1)) - DECIBELS / 10)


def around_latents(audio: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Power of single bins in windows of two latents' length around each latent of crops `[B, n]`, `[B, L, bins]`; and
    in every column of each, `[B, L x columns, bins]`."""
    hop, frame = config.hop_length, config.frame_size
    inner = audio[:, config.edge // 2 :]
    latents = (audio.shape[1] - config.edge) // frame
    around = F.pad(inner, (frame // 2, frame))[:, : (latents + 1) * frame]
    return bin_power(around, 2 * frame, frame), bin_power(inner[:, : latents * frame], hop, hop)


def fine_structure(levels: Tensor, around: int = FINE) -> Tensor:
    """Levels `[..., bands]` less their mean over so many bands, an octave: partials without their envelope."""
    pad = around // 2
    rows = F.pad(levels.flatten(0, -2)[:, None], (pad, pad), mode="replicate")
    return levels - F.avg_pool1d(rows, 2 * pad + 1, 1).view_as(levels)


def level_error(found: Tensor, wanted: Tensor, weight: float, around: int = FINE) -> tuple[Tensor, Tensor]:
    """Mean squared error of levels `[..., bands]`, with `weight` times that of their fine structure; and the latter
    relative to the structure's variance."""
    structure = fine_structure(wanted, around)
    wrong = (fine_structure(found, around) - structure).square().mean()
    return (found - wanted).square().mean() + weight * wrong, wrong / structure.square().mean().clamp(min=1e-9)


def readable_levels(audio: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """What the latents of crops `[B, n]` are to tell: the levels of fine bands in windows of two latents' length around
    each, `[B, L, bands]`, and of coarse ones in every column of each, `[B, L, columns x bands]`."""
    long, short = around_latents(audio, config)
    fine = levels_of(long @ _filters_on(audio, 2 * config.frame_size, config.sample_rate, FINE))
    coarse = levels_of(short @ _filters_on(audio, config.hop_length, config.sample_rate, COARSE))
    return fine, coarse.reshape(*fine.shape[:2], -1)


@dataclass(frozen=True, kw_only=True)
class Readout:
    """The latents shall hold the levels of narrow bands in a form that a linear map finds."""

    looks_at: ClassVar[Stage] = Stage.LATENTS
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    fine: float = within(10.0, *WEIGHT)
    """Factor on the fine structure of the bands' levels; that on the levels is 1."""

    def head(self, config: ModelConfig) -> LinearReadout:
        """The readout."""
        rate, hop = config.sample_rate, config.hop_length
        fine, coarse = _filters(2 * config.frame_size, rate, FINE), _filters(hop, rate, COARSE)
        return LinearReadout(config.latent_dim, len(fine) + config.columns_per_latent * len(coarse))

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error in units of 10 dB; that of the fine structure relative to its variance."""
        with torch.no_grad():
            fine, coarse = readable_levels(batch.audio, batch.model.config)
        levels = torch.cat([fine, coarse], 2).transpose(1, 2)
        read, others = (
            batch.heads["readout"](batch.latents, levels).transpose(1, 2).split([fine.shape[2], coarse.shape[2]], 2)
        )
        wrong, unread = level_error(read, fine, self.fine)
        return wrong + (others - coarse).square().mean(), {"unread": unread}
