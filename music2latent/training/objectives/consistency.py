"""The consistency loss (improved consistency training, arXiv 2310.14189; the Music2Latent paper, section 3.3).

L = 1 / (sigma - sigma_next) * d(D(x + sigma n, sigma, z), stopgrad D(x + sigma_next n, sigma_next, z))
d(a, b) = sqrt(||a - b||^2 + c^2) - c,  c = 0.00054 sqrt(number of elements)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ..ranges import WEIGHT, within
from .batch import Batch, Stage


def pseudo_huber(a: Tensor, b: Tensor) -> Tensor:
    """d(a, b) of every item, `[B]`, over all other axes."""
    c = 0.00054 * math.sqrt(a[0].numel())
    return ((a - b).flatten(1).square().sum(1) + c**2).sqrt() - c


@dataclass(frozen=True, kw_only=True)
class Consistency:
    """Denoising from a level and from the next lower one shall give the same."""

    looks_at: ClassVar[Stage] = Stage.AUDIO
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; no further figures."""
        model, x, noise, pyramid = batch.model, batch.x, batch.noise, batch.pyramid
        weight = (1 / (batch.sigma - batch.sigma_next)).to(x)
        sigma, sigma_next = batch.sigma.to(x), batch.sigma_next.to(x)
        student = model.denoise(x + sigma[:, None, None, None] * noise, sigma, pyramid)
        with torch.no_grad():  # the same weights and latents; the gradient goes through the student alone
            noisy = x + sigma_next[:, None, None, None] * noise
            target = model.denoise(noisy, sigma_next, [p.detach() for p in pyramid])
        return (weight * pseudo_huber(student, target)).mean(), {}
