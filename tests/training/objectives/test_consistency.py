"""The consistency loss against the paper's formulas."""

from __future__ import annotations

import math

import pytest
import torch

from music2latent.training.module import TrainingModule
from music2latent.training.objectives import Consistency
from music2latent.training.objectives.consistency import pseudo_huber

from ...helpers import gradient
from ..small import SMALL, module_inputs, small_model


def test_pseudo_huber() -> None:
    a, b = torch.zeros(2, 2, 8, 4), torch.zeros(2, 2, 8, 4)
    assert pseudo_huber(a, b).tolist() == [0, 0]
    b[1, 0, 0, 0] = 3
    c = 0.00054 * math.sqrt(64)
    assert pseudo_huber(a, b).tolist() == pytest.approx([0, math.sqrt(9 + c**2) - c])


def test_loss_is_the_papers() -> None:
    model, (audio, sigma, sigma_next, noise) = small_model(), module_inputs()
    losses = TrainingModule(model, {"consistency": Consistency()})(audio, sigma, sigma_next, noise)
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
    assert set(losses.figures) == {"consistency"}


def test_gradient_reaches_the_encoder_through_the_student_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a student that ignores the latents, the target alone must give the encoder no gradient."""
    model, inputs = small_model(), module_inputs()
    step = TrainingModule(model, {"consistency": Consistency()})
    step(*inputs).loss.backward()
    assert gradient(model.encoder.conv_inp.weight).abs().max() > 0
    model.zero_grad(set_to_none=True)
    denoise, calls = model.denoise, []

    def student_without_latents(x: torch.Tensor, sigma: torch.Tensor, pyramid: list[torch.Tensor]) -> torch.Tensor:
        calls.append(torch.is_grad_enabled())
        return denoise(x, sigma, [p.detach() for p in pyramid] if len(calls) == 1 else pyramid)

    monkeypatch.setattr(model, "denoise", student_without_latents)
    step(*inputs).loss.backward()
    assert calls == [True, False]  # student with a graph, target without
    assert model.encoder.conv_inp.weight.grad is None
    assert gradient(model.denoiser.conv_out.weight).abs().max() > 0
