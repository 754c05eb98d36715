from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from music2latent.nn.layers import Down, FrequencyAttention, ResBlock, Up


def test_attention_never_mixes_columns() -> None:
    torch.manual_seed(0)
    layer = FrequencyAttention(16, 4)
    layer.norm = torch.nn.Identity()  # type: ignore[assignment]  # its statistics run over the whole map
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
@pytest.mark.parametrize(("bins", "columns"), [(1, 1), (5, 7), (8, 2)])
def test_folded_upsampling_is_the_same(freq_only: int, bins: int, columns: int) -> None:
    up = Up(8, 6, freq_only=freq_only)
    x = torch.randn(2, 8, bins, columns)
    enlarged = F.interpolate(x, scale_factor=(4.0, 1.0) if freq_only else (2.0, 2.0))
    with torch.no_grad():
        torch.testing.assert_close(up(x), F.conv2d(enlarged, up.c.weight, up.c.bias, padding=up.c.padding))
    assert up(x).requires_grad


def test_fresh_block_is_its_skip_connection() -> None:
    x = torch.randn(1, 16, 8, 8)
    assert torch.equal(ResBlock(16, 16, cond_channels=4, heads=2)(x, torch.randn(1, 4)), x)


def test_a_single_column_in_bfloat16_is_what_it_is_in_float32() -> None:
    down = Down(32, 32, freq_only=False)
    x = torch.randn(1, 32, 64, 2)
    with torch.no_grad():
        wanted = down(x)
        found = [down.bfloat16()(x.bfloat16()) for _ in range(20)]  # whether it is finite was chance
    for one in found:
        assert one.shape == wanted.shape
        torch.testing.assert_close(one.float(), wanted, rtol=0.05, atol=0.05)
