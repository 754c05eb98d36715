"""Levels in narrow bands, equally wide to the ear: what a constant-Q spectrogram shows of the decoded audio."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from ...devices import without_autocast
from ...stft import SILENT
from ..ranges import WEIGHT, WINDOWS, within
from .batch import Batch, Stage


@cache
def band_filters(n_fft: int, sample_rate: int, per_octave: int) -> np.ndarray:
    """Triangles over log frequency, `[bands, n_fft / 2 + 1]`, from where they are two bins wide up to half the rate.

    An array: a tensor made while costs are counted, where tensors have no values, would be kept.
    """
    bins = np.arange(1, n_fft // 2 + 1) * (sample_rate / n_fft)
    lowest = 2 * sample_rate / n_fft / (2 ** (1 / per_octave) - 1)
    centres = lowest * 2 ** (np.arange(math.floor(per_octave * math.log2(sample_rate / 2 / lowest))) / per_octave)
    distance = per_octave * np.abs(np.log2(bins / centres[:, None]))
    return np.pad(np.maximum(1 - distance, 0), ((0, 0), (1, 0))).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Bands:
    """The audio that one step from sigma_max gives shall have the original's levels in every band that is heard."""

    looks_at: ClassVar[Stage] = Stage.AUDIO
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    sizes: tuple[int, ...] = within((2048, 4096, 8192), *WINDOWS)
    """Window lengths in samples; crops must be longer than the longest. Longer ones have lower bands."""
    per_octave: int = within(24, 1, 96)
    """Bands per octave."""
    block: int = within(1, 1, 4096)
    """Windows, a quarter of their length apart, whose energy counts together; blocks overlap by a half."""
    decibels: float = within(80.0, 1.0, 200.0)
    """Levels so far under the crop's loudest band are not told apart."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean difference of levels in units of 10 dB; by how many dB the decoded audio is too loud."""
        total = louder = batch.audio.new_zeros(())
        for size in self.sizes:
            filters = band_filters(size, batch.model.config.sample_rate, self.per_octave)
            found, wanted = (self._levels(one, filters) for one in batch.magnitudes(size))
            floor = wanted.amax((1, 2), keepdim=True) - self.decibels
            difference = torch.maximum(found, floor) - torch.maximum(wanted, floor)
            total = total + difference.abs().mean() / (10 * len(self.sizes))
            louder = louder + difference.detach().mean() / len(self.sizes)
        return total, {"louder": louder}

    def _levels(self, found: Tensor, filters: np.ndarray) -> Tensor:
        """dB, `[B, bands, T]`, of magnitudes `[B, T, F]`."""
        with without_autocast(found.device):  # half a decibel is lost in bfloat16
            power = torch.as_tensor(filters, device=found.device) @ found.square().mT
        block = min(self.block, power.shape[-1])
        return 10 * (avg_pool1d(power, block, max(block // 2, 1)) + SILENT**2).log10()
