"""What tones are to have as levels, and whom that teaches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from music2latent.autoencoder import Autoencoder
from music2latent.config import PRESETS
from music2latent.errors import InputError
from music2latent.nn.tones import draw
from music2latent.spectrogram import inverse
from music2latent.training.config import TrainingConfig
from music2latent.training.module import TrainingModule
from music2latent.training.objectives import Tones
from music2latent.training.objectives.tones import tone_levels

from ..small import SMALL, learn
from .test_readout import LATENTS

MINI = PRESETS["mini"]


def test_levels_are_those_that_the_sound_was_drawn_with() -> None:
    amplitudes = torch.full((1, 2 * MINI.bins, LATENTS), 1e-6)
    amplitudes[:, 300], amplitudes[:, 501] = 0.1, 0.01
    levels = tone_levels(inverse(draw(amplitudes, MINI.n_fft)), MINI)
    assert levels.shape == amplitudes.shape
    assert levels[0, 300, 1:-1].tolist() == pytest.approx([-2.0] * (LATENTS - 2), abs=0.02)
    assert levels[0, 501, 1:-1].tolist() == pytest.approx([-4.0] * (LATENTS - 2), abs=0.02)


def test_silence_has_levels() -> None:
    assert tone_levels(torch.zeros(2, MINI.edge + LATENTS * MINI.frame_size), MINI).isfinite().all()


def test_it_teaches_encoder_and_tones_alone() -> None:
    torch.manual_seed(1)
    model = Autoencoder(replace(SMALL, tones=True))
    training = TrainingModule(model, {"tones": Tones()})
    before = learn(training, 1)
    assert learn(training, 60, lr=1e-2) < 0.7 * before
    assert model.decoder.tones is not None
    for parameter in (model.encoder.conv_inp.weight, model.decoder.tones.levels.weight):
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0
    assert model.decoder.conv_inp.weight.grad is None
    assert all(parameter.grad is None for parameter in model.denoiser.parameters())


def test_a_model_without_tones_is_refused() -> None:
    with pytest.raises(InputError, match=r"objective tones has weight 1, and the model has none; set model\.tones"):
        TrainingConfig(PRESETS["tiny"], objectives={"tones": Tones()})
