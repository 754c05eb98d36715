"""A linear readout of the latents tells what the audio's levels are: finely in frequency, and finely in time.

It teaches the encoder without the way through both decoding networks; where nothing else is asked for, an iteration
costs a quarter. A linear readout of an inner layer as a figure is Alain and Bengio's (arXiv 1610.01644); as a loss of
its own it is deep supervision (Lee et al., arXiv 1409.5185).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...config import ModelConfig
from ...stft import SILENT
from ..ranges import WEIGHT, within
from .bands import band_filters
from .batch import Batch

DECIBELS = 50.0
"""Levels so far under the loudest band of a crop are not told apart."""
FINE, COARSE = 24, 3
"""Bands per octave in windows of two latents, and in windows of a column."""


@cache
def _filters(n_fft: int, sample_rate: int, per_octave: int) -> np.ndarray:
    """Single bins where bands are narrower than two, then bands, `[bands, n_fft / 2 + 1]`."""
    bands = band_filters(n_fft, sample_rate, per_octave)
    first = int(bands.any(0).argmax()) if len(bands) else n_fft // 2 + 1
    return np.concatenate([np.eye(n_fft // 2 + 1, dtype=np.float32)[1:first], bands])


def band_levels(audio: Tensor, size: int, hop: int, sample_rate: int, per_octave: int) -> Tensor:
    """Levels in Hann windows of `size` samples, `hop` apart, in units of 10 dB over the crop's floor: `[B, n]` ->
    `[B, T, bands]`."""
    window = torch.hann_window(size, device=audio.device) / math.sqrt(size)
    power = torch.fft.rfft(audio.unfold(1, size, hop) * window).abs().square()
    filters = torch.as_tensor(_filters(size, sample_rate, per_octave), device=audio.device)
    levels = (power @ filters.T + SILENT**2).log10()
    floor = levels.amax((1, 2), keepdim=True) - DECIBELS / 10
    return (levels - floor).clamp(min=0)


def fine_structure(levels: Tensor) -> Tensor:
    """Levels `[..., bands]` less their mean over an octave of bands: partials without their envelope."""
    pad = FINE // 2
    around = F.pad(levels.flatten(0, -2)[:, None], (pad, pad), mode="replicate")
    return levels - F.avg_pool1d(around, 2 * pad + 1, 1).view_as(levels)


def readable_levels(audio: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """What the latents of crops `[B, n]` are to tell: the levels of fine bands in windows of two latents' length around
    each, `[B, L, bands]`, and of coarse ones in every column of each, `[B, L, columns x bands]`."""
    rate, hop, frame = config.sample_rate, config.hop_length, config.frame_size
    inner = audio[:, config.edge // 2 :]
    latents = (audio.shape[1] - config.edge) // frame
    around = F.pad(inner, (frame // 2, frame))[:, : (latents + 1) * frame]
    fine = band_levels(around, 2 * frame, frame, rate, FINE)
    coarse = band_levels(inner[:, : latents * frame], hop, hop, rate, COARSE)
    return fine, coarse.reshape(len(audio), latents, -1)


class LinearReadout(nn.Conv1d):
    """`[B, D, L]` -> `[B, outputs, L]`. A tenth of its weights is stored, so that at a network's learning rate it
    follows what it reads (equalised learning rate, arXiv 1710.10196, section 4.1)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1)
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, latents: Tensor) -> Tensor:
        return 10 * super().forward(latents)


@dataclass(frozen=True, kw_only=True)
class Readout:
    """The latents shall hold the levels of narrow bands in a form that a linear map finds."""

    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    fine: float = within(10.0, *WEIGHT)
    """Factor on the fine structure of the bands' levels; that on the levels is 1."""

    def head(self, config: ModelConfig) -> nn.Module:
        """The readout."""
        rate, hop = config.sample_rate, config.hop_length
        fine, coarse = _filters(2 * config.frame_size, rate, FINE), _filters(hop, rate, COARSE)
        return LinearReadout(config.latent_dim, len(fine) + config.columns_per_latent * len(coarse))

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error in units of 10 dB; that of the fine structure relative to its variance."""
        with torch.no_grad():
            fine, coarse = readable_levels(batch.audio, batch.model.config)
            structure = fine_structure(fine)
        read, others = batch.heads["readout"](batch.latents).transpose(1, 2).split([fine.shape[2], coarse.shape[2]], 2)
        wrong = (fine_structure(read) - structure).square().mean()
        loss = (read - fine).square().mean() + (others - coarse).square().mean() + self.fine * wrong
        return loss, {"unread": wrong / structure.square().mean().clamp(min=1e-9)}
