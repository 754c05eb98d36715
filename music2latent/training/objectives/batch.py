"""What objectives are given, and what they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

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


class Objective(Protocol):
    """A term of the training loss."""

    @property
    def weight(self) -> float:
        """Factor on its loss; 0 leaves it out."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, a scalar, and figures to log by name."""
