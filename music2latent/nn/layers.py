"""Layers of all three networks: residual block, frequency attention, down- and upsampling.

Shapes: 2-D maps are `[B, C, F, T]` (channels, frequency, time), 1-D maps `[B, C, L]`.
The names of the attributes, and their order, are the published checkpoint's.
Source: the Music2Latent paper (arXiv 2408.06500), section 3 and appendix.
"""

from __future__ import annotations

from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from . import fused

Module = TypeVar("Module", bound=nn.Module)


class GroupNorm(nn.GroupNorm):
    """The normalisation used everywhere, with the SiLU that often follows; its statistics run over the whole window."""

    def __init__(self, channels: int) -> None:
        super().__init__(min(channels // 4, 32), channels, eps=1e-5)

    def forward(self, x: Tensor, *, shift: Tensor | None = None, silu: bool = False) -> Tensor:
        """x `[B, C, ...]`, to which shift `[B, C]` is added first."""
        if fused.takes(x):
            return fused.group_norm(x, self.weight, self.bias, shift, self.num_groups, self.eps, silu)
        if shift is not None:
            x = x + shift.view(*x.shape[:2], *[1] * (x.ndim - 2))
        x = super().forward(x)
        return F.silu(x) if silu else x


def zero_init(module: Module) -> Module:
    """Start this layer at zero: at the first training step what it feeds is untouched."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class FrequencyAttention(nn.Module):
    """x + MHA(norm(x)): every time frame is one sequence whose tokens are its frequency bins."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm = GroupNorm(channels)
        zero_init(self.mha.out_proj)

    def forward(self, x: Tensor) -> Tensor:  # [B, C, F, T]
        batch, channels, bins, frames = x.shape
        tokens = self.norm(x).permute(0, 3, 2, 1).reshape(batch * frames, bins, channels)
        # Written out, because nn.MultiheadAttention takes another path (and rounds otherwise) without gradients.
        qkv = F.linear(tokens, self.mha.in_proj_weight, self.mha.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, self.mha.num_heads, -1)).permute(2, 0, 3, 1, 4)  # each [B T, heads, F, C/heads]
        if self.training and x.device.type == "cpu":  # the fused kernel's gradient is three times as slow there
            weights = (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(-1).to(v.dtype)
            out = weights @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        out = self.mha.out_proj(out.transpose(1, 2).flatten(2)).view(batch, frames, bins, channels)
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
        h = self.conv2(self.norm2(h, shift=shift, silu=True))
        h = h + (x if self.res_conv is None else self.res_conv(x))
        return h if self.att is None else self.att(h)


class Down(nn.Module):
    """A quarter of the bins (`freq_only`), or half of the bins and half of the frames. `norm` normalises first."""

    def __init__(self, in_channels: int, out_channels: int, *, freq_only: int, norm: bool = False) -> None:
        super().__init__()
        self.norm = GroupNorm(in_channels) if norm else nn.Identity()
        if freq_only:
            self.c = nn.Conv2d(in_channels, out_channels, (5, 1), stride=(4, 1), padding=(2, 0))
        else:
            self.c = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.norm(x))


class Up(nn.Module):
    """Four times the bins (`freq_only`), or twice the bins and twice the frames: nearest neighbour, then smoothed."""

    def __init__(self, in_channels: int, out_channels: int, *, freq_only: int) -> None:
        super().__init__()
        self.factors = (4.0, 1.0) if freq_only else (2.0, 2.0)
        kernel, padding = ((5, 1), (2, 0)) if freq_only else ((3, 3), (1, 1))
        self.c = nn.Conv2d(in_channels, out_channels, kernel, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(F.interpolate(x, scale_factor=self.factors, mode="nearest"))
