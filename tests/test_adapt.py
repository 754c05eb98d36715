"""scripts/adapt.py: latents in closed form, and a decoder for them."""

from __future__ import annotations

import copy
import importlib
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
import typer

from music2latent.autoencoder import Autoencoder

from .helpers import ROOT
from .training.small import SMALL, small_model

sys.path.insert(0, str(ROOT / "scripts"))

adapt: Any = importlib.import_module("adapt")

WIDE = replace(SMALL, bottleneck_base_channels=64, latent_dim=16)


def changed(model: Autoencoder, before: Autoencoder) -> set[str]:
    """Names of the parts whose weights differ."""
    others = before.state_dict()
    return {".".join(key.split(".")[:2]) for key, weight in model.state_dict().items() if not weight.equal(others[key])}


def test_what_is_told_linearly_is_told_by_as_many_components() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(5000, 40)
    outputs = inputs @ torch.randn(40, 6) @ torch.randn(6, 30) + 2 + 0.1 * torch.randn(5000, 30)
    weights, bias = adapt.components(inputs, outputs, 6)
    latents = inputs @ weights + bias
    torch.testing.assert_close(latents.T @ latents / len(latents), torch.eye(6), rtol=0, atol=0.03)
    answer, offset = adapt.regression(latents, outputs)
    assert adapt.told(latents @ answer + offset, outputs) > 0.99
    fewer, middle = adapt.components(inputs, outputs, 3)  # the best of them, and not any
    answer, offset = adapt.regression(latents[:, :3], outputs)
    assert torch.allclose((inputs @ fewer + middle).abs(), latents[:, :3].abs(), atol=1e-3)
    assert 0.5 < adapt.told(latents[:, :3] @ answer + offset, outputs) < 0.95


def test_a_bottleneck_computes_them() -> None:
    model = Autoencoder(WIDE)
    before = copy.deepcopy(model)
    weights, bias = 0.1 * torch.randn(WIDE.feature_dim, WIDE.latent_dim), torch.randn(WIDE.latent_dim)
    adapt.put_in(model.encoder, weights, bias)
    features = torch.randn(3, WIDE.feature_dim, 10)
    with torch.no_grad():
        found = model.encoder.bottleneck(features)
    linear = torch.tanh(adapt.SPREAD * (features.transpose(1, 2) @ weights + bias)).transpose(1, 2)
    torch.testing.assert_close(found, linear, rtol=0, atol=0.02)
    assert changed(model, before) == {"encoder.bottleneck_layers", "encoder.norm_out", "encoder.conv_out"}


def test_what_does_not_fit_is_refused() -> None:
    narrow = Autoencoder(replace(WIDE, bottleneck_base_channels=32))
    with pytest.raises(typer.BadParameter, match="16 latents do not fit into a bottleneck of 32"):
        adapt.put_in(narrow.encoder, torch.zeros(WIDE.feature_dim, 16), torch.zeros(16))


def test_a_decoder_is_taken_over_behind_the_map_of_latents() -> None:
    teacher, model = small_model(), Autoencoder(SMALL)
    before = copy.deepcopy(model)
    new = torch.rand(40, SMALL.latent_dim, 20) - 0.5
    mixing = torch.linalg.qr(torch.randn(SMALL.latent_dim, SMALL.latent_dim)).Q
    old = mixing @ new + 0.1
    adapt.take_over(model, teacher, *(latents.transpose(1, 2).flatten(0, 1) for latents in (new, old)))
    with torch.no_grad():
        maps = zip(model.decoder(new[:2]), teacher.decoder(old[:2]), strict=True)
    for found, wanted in maps:
        torch.testing.assert_close(found, wanted, rtol=0, atol=0.02 * float(wanted.abs().max()))
    assert {part for part in changed(model, teacher) if not part.startswith("encoder.")} == {"decoder.conv_inp"}
    assert not {part for part in changed(model, before) if part.startswith("encoder.")}
