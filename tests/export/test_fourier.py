"""The transform by matrix products is the transform."""

from __future__ import annotations

import pytest
import torch

from music2latent.export.fourier import Fourier


@pytest.mark.parametrize("size", [4, 12, 16, 60, 2048])
def test_both_ways_equal_torch_fft(size: int) -> None:
    transform = Fourier(size)
    x = torch.randn(2, 3, size, generator=torch.Generator().manual_seed(size))
    expected = torch.fft.rfft(x)[..., :-1]  # [B, T, F]
    bins = transform(x)
    assert torch.allclose(torch.view_as_complex(bins.permute(0, 3, 2, 1).contiguous()), expected, atol=2e-6 * size)
    back = torch.fft.irfft(torch.nn.functional.pad(expected, (0, 1)), n=size)
    assert torch.allclose(transform.inverse(bins), back, atol=1e-5)


def test_its_constants_are_small() -> None:
    assert sum(buffer.nbytes for buffer in Fourier(2048).buffers()) < 1e5
