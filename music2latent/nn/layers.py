"""Layers of all three networks: residual block, frequency attention, down- and upsampling.

Shapes: 2-D maps are `[B, C, F, T]` (channels, frequency, time), 1-D maps `[B, C, L]`.
The names of the attributes, and their order, are the official checkpoint's.
Source: the Music2Latent paper (arXiv 2408.06500), section 3 and appendix.
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import norm_groups
from . import fused

Module = TypeVar("Module", bound=nn.Module)


class GroupNorm(nn.GroupNorm):
    """The normalisation used everywhere, with the SiLU that often follows; its statistics run over the whole chunk."""

    plain = False
    """Whether to keep to PyTorch's own normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__(norm_groups(channels), channels, eps=1e-5)

    def forward(self, x: Tensor, *, shift: Tensor | None = None, silu: bool = False, reuse: bool = False) -> Tensor:
        """x `[B, C, ...]`, to which shift `[B, C]` is added first. `reuse`: x may be overwritten."""
        if not self.plain and fused.takes(x):
            return fused.group_norm(x, self.weight, self.bias, shift, self.num_groups, self.eps, silu, reuse)
        if shift is not None:
            x = x + shift.view(*x.shape[:2], *[1] * (x.ndim - 2))
        x = super().forward(x)
        return F.silu(x) if silu else x


def zero_init(module: Module) -> Module:
    """Start this layer at zero: at the first training step what it feeds is untouched."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(C)) v for `[B, heads, tokens, C]`."""
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    # For sequences this short the fused kernel takes twice as long there, and its gradient three times.
    return (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1).to(v.dtype) @ v


class FrequencyAttention(nn.Module):
    """x + MHA(norm(x)): every column is one sequence whose tokens are its frequency bins."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm = GroupNorm(channels)
        zero_init(self.mha.out_proj)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, F, T]
        batch, channels, bins, columns = x.shape
        tokens = self.norm(x).permute(0, 3, 2, 1).reshape(batch * columns, bins, channels)
        # Written out, because nn.MultiheadAttention takes another path (and rounds otherwise) without gradients.
        qkv = F.linear(tokens, self.mha.in_proj_weight, self.mha.in_proj_bias)
        q, k, v = qkv.view(batch * columns, bins, 3, self.mha.num_heads, -1).permute(
            2, 0, 3, 1, 4
        )  # each [B T, heads, F, C/heads]
        out = attention(q, k, v)
        out = self.mha.out_proj(out.transpose(1, 2).flatten(2)).view(batch, columns, bins, channels)
        return x + out.permute(0, 3, 2, 1)


class ResBlock(nn.Module):
    """Two convolutions around a skip connection, on 2-D (`dims=2`) or 1-D maps, attention last if `heads` > 0."""

    def __init__(
        self, in_channels: int, out_channels: int, *, dims: int = 2, cond_channels: int = 0, heads: int = 0
    ) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv1d
        self.conv1 = conv(in_channels, out_channels, 3, padding=1)
        self.conv2 = zero_init(conv(out_channels, out_channels, 3, padding=1))
        self.res_conv = conv(in_channels, out_channels, 1) if in_channels != out_channels else None
        self.norm1 = GroupNorm(in_channels)
        self.norm2 = GroupNorm(out_channels)
        self.proj_emb = zero_init(nn.Linear(cond_channels, out_channels)) if cond_channels else None
        self.att = FrequencyAttention(out_channels, heads) if heads else None

    def forward(self, x: Tensor, embedding: Tensor | None = None) -> Tensor:
        """`embedding` is the noise embedding `[B, cond_channels]`, added to every position; None leaves it out."""
        h = self.conv1(self.norm1(x, silu=True))
        shift = None if embedding is None or self.proj_emb is None else self.proj_emb(embedding)
        h = self.conv2(self.norm2(h, shift=shift, silu=True, reuse=True))
        h += x if self.res_conv is None else self.res_conv(x)  # in place: maps are larger than any cache
        return h if self.att is None else self.att(h)


class Down(nn.Module):
    """A quarter of the bins (`freq_only`), or half of the bins and half of the columns. `norm` normalises first."""

    def __init__(self, in_channels: int, out_channels: int, *, freq_only: int, norm: bool = False) -> None:
        super().__init__()
        self.norm = GroupNorm(in_channels) if norm else nn.Identity()
        if freq_only:
            self.c = nn.Conv2d(in_channels, out_channels, (5, 1), stride=(4, 1), padding=(2, 0))
        else:
            self.c = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        if x.dtype == torch.bfloat16 and x.shape[3] == 2 and self.c.stride[1] == 2:
            # With AMX, oneDNN gives NaN where maps become a single column, often or by chance.
            return self.c(F.pad(x, (0, 2)))[..., :1]
        return self.c(x)


class Up(nn.Module):
    """Four times the bins (`freq_only`), or twice the bins and twice the columns: nearest neighbour, then smoothed."""

    plain = False
    """Whether to enlarge and convolve, in two operations."""

    def __init__(self, in_channels: int, out_channels: int, *, freq_only: int) -> None:
        super().__init__()
        self.factors = (4, 1) if freq_only else (2, 2)
        kernel, padding = ((5, 1), (2, 0)) if freq_only else ((3, 3), (1, 1))
        self.c = nn.Conv2d(in_channels, out_channels, kernel, padding=padding)
        self.meetings = [_meetings(taps, factor) for taps, factor in zip(kernel, self.factors, strict=True)]

    def forward(self, x: Tensor) -> Tensor:
        if self.plain or torch.is_grad_enabled():  # the gradient of the folded way costs more than it saves
            return self.c(F.interpolate(x, scale_factor=[float(factor) for factor in self.factors], mode="nearest"))
        return self.folded(x)

    def folded(self, x: Tensor) -> Tensor:
        """The same with less than half the multiplications, and without the enlarged map.

        Neighbours in the enlarged map are often one and the same value, so weights that meet it can be added up first:
        of 5 taps 2 are left, of 3 x 3 taps 2 x 2, other ones for every place within an enlarged value.
        """
        (batch, _, bins, columns), (by_bins, by_columns) = x.shape, self.factors
        shape = batch, self.c.out_channels, bins * by_bins, columns * by_columns
        out = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        for bin_, (first_bin, counts) in enumerate(self.meetings[0]):
            rows = _summed(self.c.weight.float(), 2, counts)
            for column, (first_column, counts) in enumerate(self.meetings[1]):
                weight = _summed(rows, 3, counts).to(x.dtype, memory_format=torch.channels_last)
                part = F.conv2d(x, weight, self.c.bias, padding=[taps // 2 for taps in weight.shape[2:]])
                part = part.narrow(2, first_bin, bins).narrow(3, first_column, columns)
                out[:, :, bin_::by_bins, column::by_columns] = part
        return out


def _meetings(taps: int, factor: int) -> list[tuple[int, list[int]]]:
    """For every place within an enlarged value: where the result of a convolution, padded by half its taps, starts; and
    how many taps meet each value."""
    found = []
    for place in range(factor):
        met = [(place + tap - taps // 2) // factor for tap in range(taps)]  # the value, counted from the own one
        counts = [met.count(value) for value in dict.fromkeys(met)]
        found.append((met[0] + len(counts) // 2, counts))
    return found


def _summed(weight: Tensor, axis: int, counts: list[int]) -> Tensor:
    """Weights, those that meet the same value added up."""
    return torch.stack([part.sum(axis) for part in weight.split(counts, axis)], axis)
