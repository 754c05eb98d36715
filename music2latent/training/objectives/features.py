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
from .readout import around_latents, levels_of


def place_levels(audio: Tensor, config: ModelConfig) -> Tensor:
    """What each place of the deepest maps is to tell of crops `[B, n]`: the levels of its bins in windows of two
    latents' length, and of all of them in every column, `[B, levels, bottom_bins, L]`."""
    long, short = around_latents(audio, config)
    shape = len(audio), long.shape[1], -1, config.bottom_bins  # [B, L, columns, places]
    fine = levels_of(long[..., :-1]).unflatten(2, (config.bottom_bins, -1)).transpose(2, 3)
    coarse = levels_of(short[..., :-1].unflatten(2, (config.bottom_bins, -1)).mean(3)).reshape(shape)
    return torch.cat([fine, coarse], 2).permute(0, 2, 3, 1)


@dataclass(frozen=True, kw_only=True)
class Features:
    """The encoder's deepest maps shall hold levels, of bins and of columns, in a form that a linear map finds."""

    looks_at: ClassVar[Stage] = Stage.FEATURES
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""

    def head(self, config: ModelConfig) -> LinearReadout:
        """The map."""
        return LinearReadout(config.channels[-1], config.frame_size // config.bottom_bins + config.columns_per_latent)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error in units of 10 dB; no further figures."""
        config = batch.model.config
        with torch.no_grad():
            levels = place_levels(batch.audio, config).flatten(2)
        places = batch.features.unflatten(1, (config.channels[-1], config.bottom_bins)).flatten(2)
        return (batch.heads["features"](places, levels) - levels).square().mean(), {}
