"""The encoder: spectrogram -> latents (paper, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..config import ModelConfig
from .layers import Down, GroupNorm, ResBlock
from .tones import measure, steady


class FrequencyGain(nn.Module):
    """A learned gain per frequency bin."""

    def __init__(self, bins: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 1, bins, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.to(x.dtype)  # or autocast would keep the maps that follow in float32


class Encoder(nn.Module):
    """Spectrogram `[B, 2, F, T]` -> latents `[B, D, T / columns_per_latent]` in (-1, 1), not yet scaled."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths, bottleneck = config.channels, config.bottleneck_base_channels
        self.gain = FrequencyGain(config.bins)
        self.steady = steady if config.tones else None
        self.measure = measure if config.tone_features else None
        self.conv_inp = nn.Conv2d(4 if config.tones else 2, widths[0], 3, padding=1)
        self.prenorm_1d_to_2d = GroupNorm(widths[-1])
        self.bottleneck_layers = nn.Sequential(
            nn.Conv1d(config.feature_dim, bottleneck, 1),
            *(ResBlock(bottleneck, bottleneck, dims=1) for _ in range(config.num_bottleneck_layers)),
        )
        self.norm_out = GroupNorm(bottleneck)
        self.conv_out = nn.Conv1d(bottleneck, config.latent_dim, 1)

        layers: list[nn.Module] = []
        width = widths[0]
        for level, channels in enumerate(widths):
            heads = config.heads if config.attention_list_encoder[level] else 0
            for _ in range(config.layers_list_encoder[level]):
                layers.append(ResBlock(width, channels, heads=heads))
                width = channels
            if level < len(widths) - 1:
                layers.append(Down(width, width, freq_only=config.freq_downsample_list[level], norm=True))
        self.down_layers = nn.Sequential(*layers)

    def features(self, spectrogram: Tensor) -> Tensor:
        """`[B, feature_dim, L]`: the flattened deepest map, index channel * bins + bin, and levels of tones, if any."""
        x = torch.cat([spectrogram, self.steady(spectrogram)], 1) if self.steady else spectrogram
        x = self.gain(self.conv_inp(x))  # [B, base, F, T]
        x = self.prenorm_1d_to_2d(self.down_layers(x)).flatten(1, 2)
        return torch.cat([x, self.measure(spectrogram).to(x.dtype)], 1) if self.measure else x

    def bottleneck(self, features: Tensor) -> Tensor:
        """What `features` returned -> latents."""
        x = self.bottleneck_layers(features)  # [B, bottleneck, L]
        return torch.tanh(self.conv_out(self.norm_out(x, silu=True)))

    def forward(self, spectrogram: Tensor) -> Tensor:
        return self.bottleneck(self.features(spectrogram))
