"""The objective raises the effective dimension."""

from __future__ import annotations

import torch

from music2latent.covariance import effective_dimension
from music2latent.training.objectives import Dimension

from ..small import small_batch


def test_descending_raises_the_dimension() -> None:
    batch = small_batch()
    before = effective_dimension(batch.latents)
    loss, figures = Dimension()(batch)
    assert figures["effective"] == before
    (gradient,) = torch.autograd.grad(loss, batch.latents)
    assert effective_dimension(batch.latents - 1e-2 * gradient / gradient.abs().max()) > before
