"""The spectral loss: magnitudes, no phase, and second steps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from music2latent.training.module import TrainingModule
from music2latent.training.objectives import Objective
from music2latent.training.objectives.spectral import spectral_distance

from ..small import OBJECTIVES, SMALL, SPECTRAL, module_inputs, small_model


def test_spectral_distance_hears_magnitudes_and_no_phase() -> None:
    t = torch.arange(44100) / 44100
    tone = 0.5 * torch.sin(2 * math.pi * 1000 * t)[None]
    sizes = (512, 2048)
    assert spectral_distance(tone, tone, sizes).item() == 0
    assert spectral_distance(tone, -tone, sizes).item() == 0
    halved, gone = (spectral_distance(tone, gain * tone, sizes).item() for gain in (0.5, 0.01))
    assert 0 < halved < gone


def test_second_steps_go_on_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the first half of the crops what is denoised is what sampling in two steps denoises second."""
    model, inputs, calls = small_model(), module_inputs(), []
    denoise = model.denoise

    def recorded(x: torch.Tensor, sigma: torch.Tensor, pyramid: list[torch.Tensor]) -> torch.Tensor:
        calls.append((x, sigma, denoise(x, sigma, pyramid)))
        return calls[-1][2]

    monkeypatch.setattr(model, "denoise", recorded)
    TrainingModule(model, {"spectral": replace(SPECTRAL, second=0.5)})(*inputs).loss.backward()
    (start, highest, first), (x, level, clean) = calls
    assert highest.tolist() == [SMALL.sigma_max]
    assert level.tolist() == pytest.approx([float(inputs[1][0]), SMALL.sigma_max])
    assert not first.requires_grad
    assert clean.requires_grad
    noise = (x[:1] - first) / level[0]
    assert float(noise.std()) == pytest.approx(1, abs=0.1)
    assert abs(float((noise * start / SMALL.sigma_max).mean())) < 0.1, "not the noise of the first step"
    torch.testing.assert_close(x[1:], SMALL.sigma_max * inputs[3][1:])


@pytest.mark.parametrize("objectives", [OBJECTIVES, {"spectral": replace(SPECTRAL, second=1.0)}])
@pytest.mark.parametrize("mixed", [False, True])  # autocast keeps casts of weights, from passes without a graph too
def test_spectral_loss_reaches_every_part(objectives: dict[str, Objective], mixed: bool) -> None:
    model = small_model()
    with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        losses = TrainingModule(model, objectives)(*module_inputs())
    parts = (objective.weight * losses.figures[name].item() for name, objective in objectives.items())
    assert losses.loss.item() == pytest.approx(sum(parts))
    losses.loss.backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert all(".bottleneck_layers." in name and ".proj_emb." in name for name in unused)
