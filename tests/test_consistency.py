from __future__ import annotations

import pytest
import torch

from music2latent import EncoderDecoder
from music2latent.config import PRESETS
from music2latent.consistency import scalings

CONFIG = PRESETS["tiny"]


def test_identity_at_sigma_min(tiny: EncoderDecoder) -> None:
    pyramid = tiny.gen.decoder(torch.rand(2, 64, 1))
    x = torch.randn(2, 2, 1024, 8)
    with torch.no_grad():
        assert torch.equal(tiny.gen.denoise(x, torch.full((2,), CONFIG.sigma_min), pyramid), x)
        assert not torch.allclose(tiny.gen.denoise(x, torch.full((2,), 1.0), pyramid), x, atol=0.1)


def test_scalings() -> None:
    c_skip, c_out, c_in = scalings(torch.tensor([0.002, 0.502, 80.0]), CONFIG)
    assert c_skip.tolist() == pytest.approx([1, 0.5, 0.25 / (79.998**2 + 0.25)])
    assert c_out.tolist() == pytest.approx([0, 0.25 / (0.502**2 + 0.25) ** 0.5, 0.5 * 79.998 / 6400.25**0.5])
    assert (c_in**2).tolist() == pytest.approx([1 / (s**2 + 0.25) for s in (0.002, 0.502, 80.0)])


def test_steps_draw_in_the_official_order(tiny: EncoderDecoder) -> None:
    steps = []

    def draw(step: int) -> torch.Tensor:
        steps.append(step)
        return torch.zeros(1, 2, 1024, 8)

    tiny.gen.decode(torch.zeros(1, 64, 1), draw, num_steps=3)
    assert steps == [0, 1, 2, 3]
