"""The upsampler (the paper's decoder): latents -> a pyramid of feature maps that conditions the denoiser."""

from __future__ import annotations

from torch import Tensor, nn

from ..config import ModelConfig
from .layers import ResBlock, Up
from .tones import Tones


class Upsampler(nn.Module):
    """Latents `[B, D, L]` in (-1, 1) -> one map `[B, C_i, F_i, T_i]` per level, level 0 first; and, in a model that has
    tones, a spectrogram of them, `[B, 2, F, T]`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        widths, bottleneck = config.channels, config.bottleneck_base_channels
        self.bottom = (config.bottom_bins, widths[-1])
        self.conv_inp = nn.Conv1d(config.latent_dim, bottleneck, 1)
        self.conv_out_bottleneck = nn.Conv1d(bottleneck, config.deepest_dim, 1)
        # The official checkpoint holds a projection of the noise embedding for these blocks; nothing uses it.
        self.bottleneck_layers = nn.Sequential(
            *(
                ResBlock(bottleneck, bottleneck, dims=1, cond_channels=config.cond_channels)
                for _ in range(config.num_bottleneck_layers)
            )
        )
        layers: list[nn.Module] = []
        for level in reversed(range(len(widths))):
            heads = config.heads if config.attention_list_encoder[level] else 0
            for _ in range(config.layers_list_encoder[level]):
                layers.append(ResBlock(widths[level], widths[level], heads=heads))
            if level:
                layers.append(Up(widths[level], widths[level - 1], freq_only=config.freq_downsample_list[level - 1]))
        self.up_layers = nn.ModuleList(layers)
        self.tones = Tones(config) if config.tones else None

    def forward(self, latents: Tensor) -> list[Tensor]:
        x = self.conv_out_bottleneck(self.bottleneck_layers(self.conv_inp(latents)))  # [B, bins * C, L]
        # Here the index is bin * channels + channel, the other way round than in the encoder's features.
        x = x.view(x.shape[0], *self.bottom, x.shape[2]).transpose(1, 2)  # [B, C, bins, L]
        pyramid = []
        for layer in self.up_layers:
            if isinstance(layer, Up):
                pyramid.append(x)
            x = layer(x)
        tones = [self.tones(latents)] if self.tones else []
        return [x, *reversed(pyramid), *tones]
