"""The denoiser."""

from __future__ import annotations

import torch

from ..helpers import reference_codec


def test_a_decoder_leaves_its_input_as_it_was() -> None:
    """Layers write over maps of their own, never over what they are given."""
    codec = reference_codec("mixed")
    latents = torch.randn(1, 64, 3).tanh()
    x, sigma = torch.randn(1, 2, 1024, 12), torch.tensor([80.0])
    with torch.no_grad():
        pyramid = codec.gen.decoder(latents)
        kept = [tensor.clone() for tensor in (latents, x, *pyramid)]
        once = codec.gen.denoise(x, sigma, pyramid)
        assert all(map(torch.equal, kept, (latents, x, *pyramid)))
        assert torch.equal(codec.gen.denoise(x, sigma, pyramid), once)
