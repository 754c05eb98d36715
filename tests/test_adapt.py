"""scripts/adapt.py: a decoder for other latents, and what is trained on stored features."""

from __future__ import annotations

import copy
import importlib
import sys
from typing import Any

import torch

from music2latent.autoencoder import Autoencoder
from music2latent.spectrogram import spectrogram

from .helpers import ROOT, sound
from .training.small import CONFIG, SMALL, small_model

sys.path.insert(0, str(ROOT / "scripts"))

adapt: Any = importlib.import_module("adapt")


def changed(model: Autoencoder, before: Autoencoder) -> set[str]:
    """Names of the parts whose weights differ."""
    others = before.state_dict()
    return {".".join(key.split(".")[:2]) for key, weight in model.state_dict().items() if not weight.equal(others[key])}


def test_a_decoder_is_taken_over_behind_the_map_of_latents() -> None:
    teacher, model = small_model(), Autoencoder(SMALL)
    before = copy.deepcopy(model)
    new = torch.rand(40, SMALL.latent_dim, 20) - 0.5
    mixing = torch.linalg.qr(torch.randn(SMALL.latent_dim, SMALL.latent_dim)).Q
    old = mixing @ new + 0.1
    assert adapt.take_over(model, teacher, new, old) > 0.99
    with torch.no_grad():
        maps = zip(model.decoder(new[:2]), teacher.decoder(old[:2]), strict=True)
    for found, wanted in maps:
        torch.testing.assert_close(found, wanted, rtol=0, atol=0.02 * float(wanted.abs().max()))
    assert {part for part in changed(model, teacher) if not part.startswith("encoder.")} == {"decoder.conv_inp"}
    assert not {part for part in changed(model, before) if part.startswith("encoder.")}


def test_bottleneck_and_bottom_learn_and_the_rest_stays() -> None:
    teacher, model = small_model(), small_model()
    audio = torch.from_numpy(sound(8, CONFIG.crop_samples))
    with torch.no_grad():
        features = model.encoder.features(spectrogram(audio, SMALL.hop_length))
        old = teacher.encoder.bottleneck(features)
    adapt.train_bottleneck(model, audio, features, old, 3)
    assert changed(model, teacher) == {"encoder.bottleneck_layers", "encoder.norm_out", "encoder.conv_out"}
    model = small_model()
    adapt.train_bottom(model, teacher, audio, old, old, 3)
    layers = {"decoder.conv_inp", "decoder.bottleneck_layers", "decoder.conv_out_bottleneck"}
    assert changed(model, teacher) == layers
