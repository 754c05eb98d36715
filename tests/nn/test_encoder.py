"""The encoder: a latent per columns_per_latent columns, and features in their official order."""

from __future__ import annotations

from dataclasses import replace

import torch

from music2latent.autoencoder import Autoencoder
from music2latent.nn.tones import measure

from ..helpers import reference_codec
from ..training.small import SMALL


def test_shapes_and_range() -> None:
    encoder, config = reference_codec("mixed").gen.encoder, reference_codec("mixed").config
    x = torch.randn(2, 2, config.bins, 3 * config.columns_per_latent)
    with torch.no_grad():
        latents, features = encoder(x), encoder.features(x)
    assert latents.shape == (2, config.latent_dim, 3)
    assert latents.abs().max() < 1
    assert features.shape == (2, config.feature_dim, 3)


def test_features_are_flattened_channel_by_channel() -> None:
    encoder, config = reference_codec("mixed").gen.encoder, reference_codec("mixed").config
    x = torch.randn(1, 2, config.bins, config.columns_per_latent)
    with torch.no_grad():
        deepest = encoder.prenorm_1d_to_2d(encoder.down_layers(encoder.gain(encoder.conv_inp(x))))
        features = encoder.features(x)
    for channel, bin_ in ((0, 1), (3, 2)):
        assert torch.equal(features[0, channel * config.bottom_bins + bin_], deepest[0, channel, bin_])


def test_features_end_with_levels_of_tones_that_latents_depend_on() -> None:
    config = replace(SMALL, tone_features=True)
    encoder = Autoencoder(config).encoder
    x = torch.randn(2, 2, config.bins, 4 * config.columns_per_latent)
    features = encoder.features(x)
    assert features.shape == (2, config.feature_dim, 4)
    levels = features[:, config.deepest_dim :].detach().requires_grad_()
    torch.testing.assert_close(levels, measure(x))
    encoder.bottleneck(torch.cat([features[:, : config.deepest_dim], levels], 1)).sum().backward()
    assert levels.grad is not None
    assert levels.grad.abs().amax((0, 2)).all()
