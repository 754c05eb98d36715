"""What is exported computes, in PyTorch, what the package does."""

from __future__ import annotations

import pytest
import torch

from music2latent.export.networks import AudioDecoder, AudioEncoder
from music2latent.export.parity import check

from ..helpers import reference_checkpoint


@pytest.mark.parametrize("name", ["tiny"])
def test_equal_to_the_models_own(name: str) -> None:
    checkpoint = reference_checkpoint(name)
    model, scale = checkpoint.build().use_plain_layers(), checkpoint.latent_scale
    before = {key: value.clone() for key, value in model.state_dict().items()}
    encoder, decoder = AudioEncoder(model, scale), AudioDecoder(model, scale)
    run = [lambda *arrays, one=one: one(*map(torch.from_numpy, arrays)).detach().numpy() for one in (encoder, decoder)]
    found = check(model, scale, run[0], run[1])
    assert max(one.encode for one in found) < 1e-5
    assert max(one.decode for one in found) < 1e-5
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_nothing_of_the_noise_level_is_left_to_compute() -> None:
    decoder = AudioDecoder(reference_checkpoint("tiny").build(), 0.06)
    assert not [name for name, _ in decoder.named_parameters() if name.startswith("denoiser.") and "emb" in name]
    assert not [name for name, _ in decoder.named_parameters() if "scale_" in name]
