"""What the upsampler's finest maps are to tell, and whom that teaches."""

from __future__ import annotations

import pytest

from music2latent.training.module import TrainingModule
from music2latent.training.objectives import Pyramid

from ..small import learn, small_model


def test_it_teaches_encoder_and_upsampler_without_the_denoiser(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    monkeypatch.setattr(model.denoiser, "forward", None)  # nothing may denoise
    training = TrainingModule(model, {"pyramid": Pyramid()})
    learn(training, 2)
    for parameter in (model.encoder.conv_inp.weight, model.decoder.conv_inp.weight):
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in model.denoiser.parameters())


def test_levels_become_readable() -> None:
    training = TrainingModule(small_model(), {"pyramid": Pyramid()})
    before = learn(training, 20, lr=0.0)
    assert learn(training, 60) < 0.7 * before
