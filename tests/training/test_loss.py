"""The loss against the paper's formulas, its gradients, and what it starts from."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from music2latent.autoencoder import Autoencoder
from music2latent.config import PRESETS
from music2latent.training.config import Recipe
from music2latent.training.loop import averaged, learning_rate
from music2latent.training.step import (
    ConsistencyTraining,
    draw_sigmas,
    initialise,
    pseudo_huber,
    sigma_of,
    spectral_distance,
    step_size,
)

from ..helpers import sound
from .small import CONFIG, RECIPE, SMALL

OFFICIAL = PRESETS["official"]


def test_ends_of_the_schedules() -> None:
    recipe = Recipe()
    assert step_size(0, recipe) == pytest.approx(0.1)
    assert step_size(0.25, recipe) == pytest.approx(0.1 ** (1 + 2 * 0.25))
    assert step_size(1, recipe) == pytest.approx(0.001)
    assert sigma_of(torch.tensor([0.0, 1.0], dtype=torch.float64), OFFICIAL).tolist() == pytest.approx([0.002, 80])
    assert learning_rate(0, recipe) == pytest.approx(1e-4)
    assert learning_rate(9_999, recipe) == pytest.approx(1)
    assert learning_rate(405_000, recipe) == pytest.approx(0.5 * (1 + 0.01))
    assert learning_rate(800_000, recipe) == pytest.approx(0.01)


def test_noise_levels_follow_the_normal_law() -> None:
    """Weights N(log sigma; P_mean, P_std) on a grid that is even in u, so with density d u / d log sigma on top."""
    sigma, sigma_next = draw_sigmas(200_000, 0.5, OFFICIAL, Recipe(), torch.Generator().manual_seed(0))
    assert (sigma > sigma_next).all()
    assert sigma_next.min() >= 0.002
    assert sigma.max() <= 80.01
    u = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    log_sigma = sigma_of(u, OFFICIAL).log()
    weights = torch.exp(-0.5 * ((log_sigma + 1.1) / 2) ** 2)
    mean = float((weights * log_sigma).sum() / weights.sum())
    spread = math.sqrt(float((weights * (log_sigma - mean) ** 2).sum() / weights.sum()))
    assert sigma.log().mean().item() == pytest.approx(mean, abs=0.02)
    assert sigma.log().std().item() == pytest.approx(spread, abs=0.02)
    far = sigma > 1  # away from the lower end the pair is one step apart in u

    def u_of(s: torch.Tensor) -> torch.Tensor:
        low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
        return (s ** (1 / 7) - low) / (high - low)

    assert (u_of(sigma[far]) - u_of(sigma_next[far])).numpy() == pytest.approx(0.01)


def test_pseudo_huber() -> None:
    a, b = torch.zeros(2, 2, 8, 4), torch.zeros(2, 2, 8, 4)
    assert pseudo_huber(a, b).tolist() == [0, 0]
    b[1, 0, 0, 0] = 3
    c = 0.00054 * math.sqrt(64)
    assert pseudo_huber(a, b).tolist() == pytest.approx([0, math.sqrt(9 + c**2) - c])


def test_spectral_distance_hears_magnitudes_and_no_phase() -> None:
    t = torch.arange(44100) / 44100
    tone = 0.5 * torch.sin(2 * math.pi * 1000 * t)[None]
    sizes = (512, 2048)
    assert spectral_distance(tone, tone, sizes).item() == 0
    assert spectral_distance(tone, -tone, sizes).item() == 0
    halved, gone = (spectral_distance(tone, gain * tone, sizes).item() for gain in (0.5, 0.01))
    assert 0 < halved < gone


def _inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    sigma = torch.tensor([0.5, 2.0], dtype=torch.float64)
    noise = torch.randn(2, 2, SMALL.bins, RECIPE.crop_frames)
    return torch.from_numpy(sound(2, CONFIG.crop_samples)), sigma, 0.9 * sigma, noise


def _model() -> Autoencoder:
    torch.manual_seed(1)
    model = Autoencoder(SMALL)
    for parameter in model.parameters():  # nothing at zero: every path carries a gradient
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_loss_is_the_papers() -> None:
    model, (audio, sigma, sigma_next, noise) = _model(), _inputs()
    recipe = replace(RECIPE, spectral_weight=0.0)
    losses = ConsistencyTraining(model, recipe)(audio, sigma, sigma_next, noise)
    with torch.no_grad():
        from music2latent.spectrogram import spectrogram

        x = spectrogram(audio, SMALL.hop_length)
        pyramid = model.decoder(model.encoder(x))
        a, b = (
            model.denoise(x + s.float()[:, None, None, None] * noise, s.float(), pyramid) for s in (sigma, sigma_next)
        )
        c = 0.00054 * math.sqrt(x[0].numel())
        distance = ((a - b).square().sum((1, 2, 3)) + c**2).sqrt() - c
        expected = (distance / (sigma - sigma_next)).mean()
    assert losses.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.spectral.item() == 0


def test_gradient_reaches_the_encoder_through_the_student_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a student that ignores the latents, the target alone must give the encoder no gradient."""
    model, inputs = _model(), _inputs()
    recipe = replace(RECIPE, spectral_weight=0.0)
    ConsistencyTraining(model, recipe)(*inputs).loss.backward()
    assert model.encoder.conv_inp.weight.grad.abs().max() > 0
    model.zero_grad(set_to_none=True)
    denoise, calls = model.denoise, []

    def student_without_latents(x: torch.Tensor, sigma: torch.Tensor, pyramid: list[torch.Tensor]) -> torch.Tensor:
        calls.append(torch.is_grad_enabled())
        return denoise(x, sigma, [p.detach() for p in pyramid] if len(calls) == 1 else pyramid)

    monkeypatch.setattr(model, "denoise", student_without_latents)
    ConsistencyTraining(model, recipe)(*inputs).loss.backward()
    assert calls == [True, False]  # student with a graph, target without
    assert model.encoder.conv_inp.weight.grad is None
    assert model.conv_out.weight.grad.abs().max() > 0


def test_the_fast_layout_has_the_same_gradients() -> None:
    """channels_last brings the fused normalisation, training mode the written-out attention."""
    plain, fast, inputs = _model().eval(), _model(), _inputs()
    fast.to(memory_format=torch.channels_last)
    losses = [ConsistencyTraining(model, RECIPE).train(model is fast)(*inputs) for model in (plain, fast)]
    assert losses[1].loss.item() == pytest.approx(losses[0].loss.item(), rel=1e-5)
    for one in losses:
        one.loss.backward()
    for (name, one), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-4 * one.grad.abs().max(), msg=name)


def test_a_loss_without_weight_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, levels = _model(), _inputs(), []
    denoise = model.denoise
    monkeypatch.setattr(model, "denoise", lambda x, sigma, pyramid: levels.append(sigma) or denoise(x, sigma, pyramid))
    alone = ConsistencyTraining(model, replace(RECIPE, consistency_weight=0.0))(*inputs)
    assert [sigma.tolist() for sigma in levels] == [[SMALL.sigma_max] * 2]
    assert alone.loss.item() == pytest.approx(0.5 * alone.spectral.item())
    assert alone.consistency.item() == 0


def test_second_steps_go_on_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the first half of the crops what is denoised is what sampling in two steps denoises second."""
    model, inputs, calls = _model(), _inputs(), []
    denoise = model.denoise

    def recorded(x: torch.Tensor, sigma: torch.Tensor, pyramid: list[torch.Tensor]) -> torch.Tensor:
        calls.append((x, sigma, denoise(x, sigma, pyramid)))
        return calls[-1][2]

    monkeypatch.setattr(model, "denoise", recorded)
    recipe = replace(RECIPE, consistency_weight=0.0, spectral_second=0.5)
    ConsistencyTraining(model, recipe)(*inputs).loss.backward()
    (start, highest, first), (x, level, clean) = calls
    assert highest.tolist() == [SMALL.sigma_max]
    assert level.tolist() == pytest.approx([float(inputs[1][0]), SMALL.sigma_max])
    assert not first.requires_grad
    assert clean.requires_grad
    noise = (x[:1] - first) / level[0]
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    assert abs(float((noise * start / SMALL.sigma_max).mean())) < 0.1, "not the noise of the first step"
    torch.testing.assert_close(x[1:], SMALL.sigma_max * inputs[3][1:])


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, consistency_weight=0.0, spectral_second=1.0)])
@pytest.mark.parametrize("mixed", [False, True])  # autocast keeps casts of weights, from passes without a graph too
def test_auxiliary_loss_reaches_every_part(recipe: Recipe, mixed: bool) -> None:
    model = _model()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        losses = ConsistencyTraining(model, recipe)(*_inputs())
    assert losses.loss.item() == pytest.approx(
        (recipe.consistency_weight * losses.consistency + 0.5 * losses.spectral).item()
    )
    losses.loss.backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert all(".bottleneck_layers." in name and ".proj_emb." in name for name in unused)


def test_variance_preserving_weights() -> None:
    torch.manual_seed(0)
    model = Autoencoder(PRESETS["tiny"])
    before = {name for name, parameter in model.named_parameters() if not parameter.any()}
    initialise(model, Recipe(init="variance_preserving"))
    weight = model.encoder.bottleneck_layers[0].weight
    assert weight.std().item() == pytest.approx(1 / math.sqrt(weight[0].numel()), rel=0.05)
    assert before <= {name for name, parameter in model.named_parameters() if not parameter.any()}


def test_averaged_weights() -> None:
    model = _model()
    ema = averaged(model, 0.5)
    expected = model.conv_out.bias.detach().clone()
    for count in range(4):
        with torch.no_grad():
            model.conv_out.bias.add_(1.0)
        ema.update_parameters(model)
        # the first update copies; then the decay warms up until it reaches its limit
        decay = 0 if count == 0 else min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * model.conv_out.bias.detach()
        torch.testing.assert_close(ema.module.conv_out.bias.detach(), expected)
