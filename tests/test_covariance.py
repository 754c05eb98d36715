"""The effective dimension of latents with known covariances."""

from __future__ import annotations

import pytest
import torch

from music2latent.covariance import effective_dimension


def test_effective_dimension_of_known_covariances() -> None:
    one = torch.randn(1, 1, 4096, generator=torch.Generator().manual_seed(0))
    assert effective_dimension(one.expand(1, 8, -1)).item() == pytest.approx(1)
    noise = torch.randn(4, 8, 4096, generator=torch.Generator().manual_seed(1))
    assert effective_dimension(noise).item() == pytest.approx(8, rel=0.01)
    levels = torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]).sqrt()[:, None]
    assert effective_dimension(levels * noise + 5).item() == pytest.approx(4, rel=0.01), "means do not count"
