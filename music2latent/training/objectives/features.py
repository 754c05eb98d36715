"""A linear map of each place of the encoder's deepest maps tells the levels of the bins that it stands for.

Deep supervision (Lee et al., arXiv 1409.5185): one small map for all places learns from every one of them, many more
than a readout of the latents has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...config import ModelConfig
from ..ranges import WEIGHT, within
from .batch import Batch, Stage
from .linear_readout import LinearReadout
from .readout import around_latents, level_error, levels_of

AROUND = 96
"""Bins, some 500 Hz at frames of 4096, less whose mean level is fine structure."""


def place_levels(audio: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """What each place of the deepest maps is to tell of crops `[B, n]`: the levels of its bins in windows of two
    latents' length, `[B, bins, bottom_bins, L]`, and of all of them together in every column, `[B, columns,
    bottom_bins, L]`."""
    long, short = around_latents(audio, config)
    fine = levels_of(long[..., :-1]).unflatten(2, (config.bottom_bins, -1))  # [B, L, places, bins]
    coarse = levels_of(short[..., :-1].unflatten(2, (config.bottom_bins, -1)).mean(3))
    coarse = coarse.unflatten(1, (long.shape[1], -1)).transpose(2, 3)  # [B, L, places, columns]
    return fine.permute(0, 3, 2, 1), coarse.permute(0, 3, 2, 1)


@dataclass(frozen=True, kw_only=True)
class Features:
    """The encoder's deepest maps shall hold levels, of bins and of columns, in a form that a linear map finds."""

    looks_at: ClassVar[Stage] = Stage.FEATURES
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    fine: float = within(10.0, *WEIGHT)
    """Factor on the fine structure of the levels; that on the levels is 1."""

    def head(self, config: ModelConfig) -> LinearReadout:
        """The map."""
        return LinearReadout(config.channels[-1], config.frame_size // config.bottom_bins + config.columns_per_latent)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error in units of 10 dB, of levels and of their fine structure; no further figures."""
        config = batch.model.config
        with torch.no_grad():
            fine, coarse = place_levels(batch.audio, config)
        maps = batch.features[:, : config.deepest_dim].unflatten(1, (-1, config.bottom_bins))
        read, columns = batch.heads["features"](maps, torch.cat([fine, coarse], 1)).split(
            [fine.shape[1], coarse.shape[1]], 1
        )
        found, wanted = (levels.permute(0, 3, 2, 1).flatten(2) for levels in (read, fine))  # [B, L, all bins]
        return level_error(found, wanted, self.fine, AROUND)[0] + (columns - coarse).square().mean(), {}
