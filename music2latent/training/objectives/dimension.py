"""The effective dimension of the latents: how many of their directions carry variance.

The participation ratio of a covariance C of D channels is tr(C)^2 / tr(C^2): D if all eigenvalues are equal, 1 if one
is all there is.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..ranges import WEIGHT, within
from .batch import Batch


def effective_dimension(latents: Tensor) -> Tensor:
    """Participation ratio over all items and times of latents `[B, D, L]`."""
    points = latents.double().transpose(0, 1).flatten(1)  # [D, B L]; autocast leaves float64 alone
    points = points - points.mean(1, keepdim=True)
    covariance = points @ points.T
    return covariance.diagonal().sum().square() / covariance.square().sum()


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """The latents shall use all of their channels: log(D / effective dimension) of the batch."""

    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; the effective dimension."""
        effective = effective_dimension(batch.latents)
        return (batch.latents.shape[1] / effective).log(), {"effective": effective}
