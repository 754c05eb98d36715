"""One pass: the weighted sum, the fast layout, initial weights."""

from __future__ import annotations

import math

import pytest
import torch

from music2latent.autoencoder import Autoencoder
from music2latent.config import PRESETS
from music2latent.training.config import Recipe, TrainingConfig
from music2latent.training.module import TrainingModule, initialise
from music2latent.training.objectives import Consistency, Objective

from ..helpers import channels_last
from .small import OBJECTIVES, RECIPE, SMALL, SPECTRAL, module_inputs, small_model


def test_the_fast_layout_has_the_same_gradients() -> None:
    """channels_last brings the fused normalisation, training mode the written-out attention."""
    plain, fast, inputs = small_model().eval(), small_model(), module_inputs()
    channels_last(fast)
    losses = []
    for model in (plain, fast):
        torch.manual_seed(0)  # of what objectives bring along
        losses.append(TrainingModule(model, OBJECTIVES).train(model is fast)(*inputs))
    assert losses[1].loss.item() == pytest.approx(losses[0].loss.item(), rel=1e-5)
    for one in losses:
        one.loss.backward()
    for (name, one), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(
                other.grad, one.grad, rtol=1e-3, atol=1e-4 * float(one.grad.abs().max()), msg=name
            )


def test_a_loss_without_weight_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = small_model(), module_inputs()
    denoise, levels = model.denoise, []

    def recorded(x: torch.Tensor, sigma: torch.Tensor, pyramid: list[torch.Tensor]) -> torch.Tensor:
        levels.append(sigma)
        return denoise(x, sigma, pyramid)

    monkeypatch.setattr(model, "denoise", recorded)
    without: dict[str, Objective] = {"consistency": Consistency(weight=0.0), "spectral": SPECTRAL}
    alone = TrainingModule(model, TrainingConfig(SMALL, RECIPE, without).active)(*inputs)
    assert [sigma.tolist() for sigma in levels] == [[SMALL.sigma_max] * 2]
    assert alone.loss.item() == pytest.approx(0.5 * alone.figures["spectral"].item())
    assert set(alone.figures) == {"spectral"}


def test_noise_on_the_latents_is_for_the_decoder_alone() -> None:
    training, (audio, sigma, sigma_next, noise) = TrainingModule(small_model(), {}), module_inputs()
    plain = training.batch(audio, sigma, sigma_next, noise)
    silent, noisy = (
        training.batch(audio, sigma, sigma_next, noise, level * torch.randn_like(plain.latents)) for level in (0.0, 0.5)
    )
    assert torch.equal(noisy.latents, plain.latents)
    assert torch.equal(silent.decoded, plain.decoded)
    assert not torch.allclose(noisy.decoded, plain.decoded, rtol=1e-2)


def test_masked_latents_are_for_the_decoder_alone() -> None:
    training, (audio, sigma, sigma_next, noise) = TrainingModule(small_model(), {}), module_inputs()
    plain = training.batch(audio, sigma, sigma_next, noise)
    mask = torch.ones_like(plain.latents[..., :1])
    mask[1, 10:] = 0
    masked = training.batch(audio, sigma, sigma_next, noise, 0.5 * (1 - mask.expand_as(plain.latents)), mask)
    assert torch.equal(masked.latents, plain.latents)
    assert torch.equal(masked.decoded[0], plain.decoded[0])
    cut = training.model.decoder(plain.latents * mask)
    assert all(torch.equal(one, two) for one, two in zip(masked.pyramid, cut, strict=True)), "no noise where masked"


def test_variance_preserving_weights() -> None:
    torch.manual_seed(0)
    model = Autoencoder(PRESETS["tiny"])
    before = {name for name, parameter in model.named_parameters() if not parameter.any()}
    initialise(model, Recipe(init="variance_preserving"))
    weight = model.encoder.conv_out.weight
    assert weight.std().item() == pytest.approx(1 / math.sqrt(weight[0].numel()), rel=0.05)
    assert before <= {name for name, parameter in model.named_parameters() if not parameter.any()}
