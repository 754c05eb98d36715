"""The effective dimension of latents with known covariances, and that the objective raises it."""

from __future__ import annotations

import pytest
import torch

from music2latent.training.objectives import Dimension
from music2latent.training.objectives.dimension import effective_dimension

from ..small import small_batch


def test_effective_dimension_of_known_covariances() -> None:
    one = torch.randn(1, 1, 4096, generator=torch.Generator().manual_seed(0))
    assert effective_dimension(one.expand(1, 8, -1)).item() == pytest.approx(1)
    noise = torch.randn(4, 8, 4096, generator=torch.Generator().manual_seed(1))
    assert effective_dimension(noise).item() == pytest.approx(8, rel=0.01)


def test_descending_raises_the_dimension() -> None:
    batch = small_batch()
    before = effective_dimension(batch.latents)
    loss, figures = Dimension()(batch)
    assert figures["effective"] == before
    (gradient,) = torch.autograd.grad(loss, batch.latents)
    assert effective_dimension(batch.latents - 1e-2 * gradient / gradient.abs().max()) > before
