"""How many directions of the latents carry variance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...covariance import effective_dimension
from ..ranges import WEIGHT, within
from .batch import Batch, Stage


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """The latents shall use all of their channels: log(D / effective dimension) of the batch."""

    looks_at: ClassVar[Stage] = Stage.LATENTS
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; the effective dimension."""
        effective = effective_dimension(batch.latents)
        return (batch.latents.shape[1] / effective).log(), {"effective": effective}
