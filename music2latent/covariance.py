"""How many of the latents' channels count."""

from __future__ import annotations

from torch import Tensor


def effective_dimension(latents: Tensor) -> Tensor:
    """Participation ratio of the channels' covariance C over all items and times: tr(C)^2 / tr(C^2).

    D if all eigenvalues are equal, 1 if one is all there is.

    Shape: `[B, D, L]` -> a scalar.
    """
    if latents.device.type == "mps":  # which has no float64
        latents = latents.cpu()
    points = latents.double().transpose(0, 1).flatten(1)  # [D, B L]; autocast leaves float64 alone
    points = points - points.mean(1, keepdim=True)
    covariance = points @ points.T
    return covariance.diagonal().sum().square() / covariance.square().sum()
