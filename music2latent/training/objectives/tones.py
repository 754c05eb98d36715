"""The upsampler's tones shall have the levels of the audio (only in models that have tones, `nn.tones`).

A linear map of the latents tells them, so this teaches the latents what is steady without the way through the
denoiser.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...config import ModelConfig
from ..ranges import WEIGHT, within
from .batch import Batch, Stage
from .readout import around_latents, floored, level_error

AROUND = 48
"""Tones, some 500 Hz at frames of 4096, less whose mean level is fine structure."""


def tone_levels(audio: Tensor, config: ModelConfig) -> Tensor:
    """Of crops `[B, n]`, in windows of two latents' length around each latent, in units of 10 dB over amplitude 1,
    `[B, tones, L]`; down to `DECIBELS` under the loudest of a crop."""
    power, _ = around_latents(audio, config)
    amplitudes = 16 / (2 * config.frame_size) * power[..., :-1:2]  # squared: a Hann window has half its length as sum
    return floored((amplitudes + 1e-12).log10().transpose(1, 2))


@dataclass(frozen=True, kw_only=True)
class Tones:
    """The tones that decoding begins with shall have the levels of the audio."""

    looks_at: ClassVar[Stage] = Stage.TONES
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    fine: float = within(10.0, *WEIGHT)
    """Factor on the fine structure of the levels; that on the levels is 1."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean squared error in units of 10 dB; that of the fine structure relative to its variance."""
        with torch.no_grad():
            wanted = tone_levels(batch.audio, batch.model.config)
        tones = batch.model.decoder.tones
        assert tones is not None  # which the configuration has seen to
        told = tones.levels(batch.latents).float()
        loss, unread = level_error(told.transpose(1, 2), wanted.transpose(1, 2), self.fine, AROUND)
        return loss, {"unread": unread}
