"""The denoiser: noisy spectrogram, noise level and pyramid -> the network's raw output F (paper, section 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from .layers import Down, GroupNorm, ResBlock, Up, zero_init

TINY = 1e-6
"""Added to the squares of magnitudes, whose root has no finite slope at zero."""


class NoiseEmbedding(nn.Module):
    """c_noise = log(sigma) / 4 -> `[B, channels]`: sines, then cosines, at frequencies 1 down to 1e-4."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_frequencies = channels // 2

    def forward(self, c_noise: Tensor) -> Tensor:  # [B]
        exponents = torch.arange(self.num_frequencies, device=c_noise.device, dtype=c_noise.dtype)
        exponents = exponents / (self.num_frequencies - 1)
        phases = c_noise[:, None] * torch.exp(-math.log(10000.0) * exponents)
        return torch.cat([phases.sin(), phases.cos()], dim=1)


def frequency_scaler(cond_channels: int, bins: int) -> nn.Sequential:
    """A gain per frequency bin that depends on the noise level; it starts at zero."""
    return nn.Sequential(
        nn.Linear(cond_channels, cond_channels),
        nn.SiLU(),
        nn.Linear(cond_channels, cond_channels),
        nn.SiLU(),
        zero_init(nn.Linear(cond_channels, bins)),
    )


class Denoiser(nn.Module):
    """UNet over `[B, 2, F, T]`, conditioned on the noise level and, at every block, on the pyramid's map.

    In a model that has tones it sees them and their magnitudes beside its input, and draws, beside a spectrogram, a
    gain for each bin of them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths, cond = config.channels, config.cond_channels
        self.embed = NoiseEmbedding(cond)
        self.emb_proj = nn.Sequential(nn.Linear(cond, cond), nn.SiLU(), nn.Linear(cond, cond), nn.SiLU())
        self.scale_inp = frequency_scaler(cond, config.bins)
        self.scale_out = frequency_scaler(cond, config.bins)
        self.has_tones, self.sigma_data = config.tones, config.sigma_data
        self.conv_inp = nn.Conv2d(5 if config.tones else 2, widths[0], 3, padding=1)
        self.conv_decoded = nn.Conv2d(widths[0], widths[0], 1)
        self.norm_out = GroupNorm(widths[0])
        self.conv_out = zero_init(nn.Conv2d(widths[0], 3 if config.tones else 2, 3, padding=1))

        def blocks(level: int) -> list[nn.Module]:
            """For every block of a level: the 1x1 convolution of its pyramid map, then the block."""
            heads = config.heads if config.attention_list[level] else 0
            layers: list[nn.Module] = []
            for _ in range(config.layers_list[level]):
                layers.append(nn.Conv2d(widths[level], widths[level], 1))
                layers.append(ResBlock(widths[level], widths[level], cond_channels=cond, heads=heads))
            return layers

        down: list[nn.Module] = []
        up: list[nn.Module] = []
        for level, freq_only in enumerate(config.freq_downsample_list):
            down += [*blocks(level), Down(widths[level], widths[level + 1], freq_only=freq_only)]
        deepest = len(widths) - 1
        down += blocks(deepest)
        for level in range(deepest, 0, -1):
            freq_only = config.freq_downsample_list[level - 1]
            up += [*blocks(level), Up(widths[level], widths[level - 1], freq_only=freq_only)]
        up += blocks(0)
        self.down_layers = nn.ModuleList(down)
        self.up_layers = nn.ModuleList(up)

    def forward(self, x: Tensor, c_noise: Tensor, pyramid: list[Tensor]) -> Tensor:
        """x `[B, 2, F, T]` already scaled by c_in; c_noise `[B]`; pyramid as the upsampler gives it."""
        e = self.embed(c_noise).to(x.dtype)
        embedding = self.emb_proj(e)  # [B, cond]
        if self.has_tones:
            tones = pyramid[-1]
            x = torch.cat([x, tones, tones.square().sum(1, keepdim=True).add(TINY).sqrt()], 1)
        x = self.conv_inp(x).mul_((1 + self.scale_inp(e))[:, None, :, None])  # [B, base, F, T]

        remembered: list[Tensor] = []
        level = 0
        for layer in self.down_layers:
            if isinstance(layer, Down):
                x, level = layer(x), level + 1
            elif isinstance(layer, ResBlock):
                x = layer(x, embedding)
                remembered.append(x)
            else:
                x = layer(pyramid[level]).add_(x).div_(math.sqrt(2))
        for layer in self.up_layers:
            if isinstance(layer, Up):
                x, level = layer(x), level - 1
            elif isinstance(layer, ResBlock):
                x = layer(x, embedding)
            else:
                x = layer(pyramid[level]).add_(x).add_(remembered.pop()).div_(math.sqrt(3))

        x = self.conv_decoded(pyramid[0]).add_(x).div_(math.sqrt(2))
        x = self.norm_out(x, silu=True, reuse=True).mul_((1 + self.scale_out(e))[:, None, :, None])
        x = self.conv_out(x)
        # The consistency function multiplies this by about sigma_data where it decodes from.
        return x[:, :2] + x[:, 2:] * tones / self.sigma_data if self.has_tones else x  # [B, 2, F, T]
