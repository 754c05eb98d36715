"""The networks as one model: keys, sizes, initial weights, plain layers."""

from __future__ import annotations

import pytest
import torch

from music2latent.autoencoder import Autoencoder, parameter_shapes
from music2latent.config import PRESETS
from music2latent.nn import fused
from music2latent.nn.layers import Up

from .helpers import channels_last, reference_checkpoint, reference_keys, relative_error


@pytest.mark.parametrize("name", ["official", "tiny", "mixed"])
def test_keys_shapes_and_order_are_the_official_ones(name: str) -> None:
    config = reference_checkpoint(name).config
    assert [(key, tuple(shape)) for key, shape in parameter_shapes(config).items()] == reference_keys(name)
    with torch.device("meta"):
        assert list(Autoencoder(config).state_dict()) == [key for key, _ in reference_keys(name)]


def test_parameter_count() -> None:
    assert PRESETS["official"] == reference_checkpoint("official").config
    assert PRESETS["tiny"] == reference_checkpoint("tiny").config
    count = {name: sum(shape.numel() for shape in parameter_shapes(PRESETS[name]).values()) for name in PRESETS}
    assert round(count["official"] / 1e6, 2) == 58.19
    official = parameter_shapes(PRESETS["official"])
    part = {p: sum(s.numel() for k, s in official.items() if k.startswith(p)) / 1e6 for p in ("encoder.", "decoder.")}
    assert {key: round(value, 1) for key, value in part.items()} == {"encoder.": 16.3, "decoder.": 17.3}


def test_what_starts_at_zero() -> None:
    model = Autoencoder(PRESETS["tiny"])
    zero = {name for name, parameter in model.named_parameters() if not parameter.any()}
    norms = {name for name in parameter_shapes(model.config) if ".norm" in name or name.startswith("norm")}
    expected = {
        name
        for name in parameter_shapes(model.config)
        if ".conv2." in name
        or ".proj_emb." in name
        or ".out_proj." in name
        or name.startswith(("scale_inp.4", "scale_out.4", "conv_out."))
    }
    # torch itself starts the biases of norms and of attention's input at zero
    ours = {name for name in zero if name not in norms and not name.endswith(("in_proj_bias", "prenorm_1d_to_2d.bias"))}
    assert ours == expected


def test_plain_layers_give_the_same_with_pytorchs_own_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    model = channels_last(reference_checkpoint("mixed").build())
    plain = channels_last(reference_checkpoint("mixed").build()).use_plain_layers()
    x = torch.randn(1, 2, 1024, 12).to(memory_format=torch.channels_last)
    with torch.no_grad():
        latents = model.encoder(x)
        expected = model.denoiser(x, torch.tensor([1.0]), model.decoder(latents))
        monkeypatch.setattr(fused, "group_norm", lambda *_: pytest.fail("fused normalisation"))
        monkeypatch.setattr(Up, "folded", lambda *_: pytest.fail("folded upsampling"))
        torch.testing.assert_close(plain.encoder(x), latents, rtol=1e-4, atol=1e-5)
        found = plain.denoiser(x, torch.tensor([1.0]), plain.decoder(latents))
    assert relative_error(found, expected) < 1e-4
