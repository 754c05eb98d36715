"""A linear map of the upsampler's finest maps tells the levels of the spectrogram that is to be decoded.

Deep supervision (Lee et al., arXiv 1409.5185): the upsampler is taught without the way through the denoiser, whose
input is noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...config import ModelConfig
from ...spectrogram import ALPHA
from ..ranges import WEIGHT, within
from .batch import Batch, Stage
from .linear_readout import LinearReadout
from .readout import floored, level_error

AROUND = 25
"""Bins, some 500 Hz at hops of 512, less whose mean level is fine structure."""


def column_levels(x: Tensor) -> Tensor:
    """Of a compressed spectrogram `[B, 2, F, T]`, in units of 10 dB, down to the crop's floor, `[B, 1, T, F]`."""
    levels = (x.square().sum(1, keepdim=True) + 1e-9).log10() / ALPHA
    return floored(levels).transpose(2, 3)


@dataclass(frozen=True, kw_only=True)
class Pyramid:
    """The upsampler's finest maps shall hold the levels of the spectrogram in a form that a linear map finds."""

    looks_at: ClassVar[Stage] = Stage.PYRAMID
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    fine: float = within(10.0, *WEIGHT)
    """Factor on the fine structure of the levels; that on the levels is 1."""

    def head(self, config: ModelConfig) -> LinearReadout:
        """The map."""
        return LinearReadout(config.channels[0], 1)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error in units of 10 dB; that of the fine structure relative to its variance."""
        with torch.no_grad():
            levels = column_levels(batch.x)
        read = batch.heads["pyramid"](batch.pyramid[0].transpose(2, 3), levels)
        loss, unread = level_error(read, levels, self.fine, AROUND)
        return loss, {"unread": unread}
