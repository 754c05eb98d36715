from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from music2latent.autoencoder import Autoencoder, parameter_shapes
from music2latent.config import PRESETS
from music2latent.nn.layers import Down, FrequencyAttention, ResBlock, Up

from ..helpers import reference_checkpoint, reference_codec, reference_keys


@pytest.mark.parametrize("name", ["official", "tiny", "mixed"])
def test_keys_shapes_and_order_are_the_published_ones(name: str) -> None:
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


def test_attention_never_mixes_time_frames() -> None:
    torch.manual_seed(0)
    layer = FrequencyAttention(16, 4)
    layer.norm = torch.nn.Identity()  # its statistics run over the whole map
    torch.nn.init.normal_(layer.mha.out_proj.weight)
    x = torch.randn(2, 16, 10, 5)
    whole = layer(x)
    assert not torch.allclose(whole, x)
    single = torch.cat([layer(x[..., t : t + 1]) for t in range(5)], dim=-1)
    torch.testing.assert_close(whole, single)


def test_attention_is_torchs() -> None:
    torch.manual_seed(0)
    layer = FrequencyAttention(16, 4)
    torch.nn.init.normal_(layer.mha.out_proj.weight)
    x = torch.randn(1, 16, 10, 3)
    tokens = layer.norm(x)[0].permute(2, 1, 0)  # [T, F, C]
    expected = x + layer.mha(tokens, tokens, tokens)[0].permute(2, 1, 0)[None]
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("freq_only", [0, 1])
def test_down_then_up_keeps_the_shape(freq_only: int) -> None:
    x = torch.randn(1, 8, 16, 8)
    small = Down(8, 12, freq_only=freq_only, norm=True)(x)
    assert small.shape == ((1, 12, 4, 8) if freq_only else (1, 12, 8, 4))
    assert Up(12, 8, freq_only=freq_only)(small).shape == x.shape


@pytest.mark.parametrize("freq_only", [0, 1])
@pytest.mark.parametrize(("bins", "frames"), [(1, 1), (5, 7), (8, 2)])
def test_folded_upsampling_is_the_same(freq_only: int, bins: int, frames: int) -> None:
    up = Up(8, 6, freq_only=freq_only)
    x = torch.randn(2, 8, bins, frames)
    enlarged = F.interpolate(x, scale_factor=(4.0, 1.0) if freq_only else (2.0, 2.0))
    with torch.no_grad():
        torch.testing.assert_close(up(x), F.conv2d(enlarged, up.c.weight, up.c.bias, padding=up.c.padding))
    assert up(x).requires_grad


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


def test_fresh_block_is_its_skip_connection() -> None:
    x = torch.randn(1, 16, 8, 8)
    assert torch.equal(ResBlock(16, 16, cond_channels=4, heads=2)(x, torch.randn(1, 4)), x)


def test_pyramid_has_one_map_per_level() -> None:
    codec = reference_codec("mixed")
    maps = codec.gen.decoder(torch.zeros(1, 64, 3))
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 1024, 12), (16, 256, 12), (16, 128, 6), (32, 32, 6), (32, 16, 3)]
