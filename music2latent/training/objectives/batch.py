"""What objectives are given, and what they give."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from torch import Tensor

from ... import spectrogram
from ...autoencoder import Autoencoder


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of crops, noise for it, and what encoder and upsampler made of it, with gradients."""

    model: Autoencoder
    audio: Tensor
    """`[B, n]`"""
    x: Tensor
    """Its spectrogram, `[B, 2, F, T]`."""
    latents: Tensor
    """`[B, D, L]` in (-1, 1)."""
    pyramid: list[Tensor]
    """The upsampler's maps."""
    sigma: Tensor
    """Noise levels, `[B]` float64."""
    sigma_next: Tensor
    """The next lower levels, `[B]` float64."""
    noise: Tensor
    """Standard normal, `[B, 2, F, T]`."""

    @cached_property
    def decoded(self) -> Tensor:
        """The audio that one step from sigma_max gives, `[B, n - 2 edge]`: where nothing fades. Computed once, whatever
        the number of objectives that look at it."""
        sigma_max, edge = self.model.config.sigma_max, self.model.config.edge
        level = self.noise.new_full((len(self.noise),), sigma_max)
        clean = self.model.denoise(sigma_max * self.noise, level, self.pyramid)
        return spectrogram.overlap_add(spectrogram.synthesise(clean))[:, edge:-edge]

    @property
    def original(self) -> Tensor:
        """The same part of the original."""
        return self.audio[:, self.model.config.edge : -self.model.config.edge]


class Objective(Protocol):
    """A term of the training loss."""

    @property
    def weight(self) -> float:
        """Factor on its loss; 0 leaves it out."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, a scalar, and figures to log by name."""
