"""What the latents are to tell, and whom that teaches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from music2latent.config import PRESETS
from music2latent.training.module import TrainingModule
from music2latent.training.objectives import Readout
from music2latent.training.objectives.readout import fine_structure, readable_levels

from ..small import learn, small_model

MINI = PRESETS["mini"]
LATENTS = 4


def crop(sound: torch.Tensor) -> torch.Tensor:
    return nn.functional.pad(sound, (MINI.edge // 2, MINI.edge // 2))[None]


@pytest.mark.parametrize("frequency", [110.0, 440.0, 3520.0])
def test_a_tone_stands_out_of_its_neighbourhood_and_a_semitone_moves_it(frequency: float) -> None:
    time = torch.arange(LATENTS * MINI.frame_size) / MINI.sample_rate

    def heard(of: float) -> int:
        fine, _ = readable_levels(crop(0.1 * (2 * math.pi * of * time).sin()), MINI)
        assert fine.shape[:2] == (1, LATENTS)
        return int(fine_structure(fine)[0, 1].argmax())

    assert heard(2 ** (1 / 12) * frequency) > heard(frequency) > heard(2 ** (-1 / 12) * frequency)


def test_a_click_is_heard_in_its_latent_and_column() -> None:
    sound = torch.zeros(LATENTS * MINI.frame_size)
    sound[2 * MINI.frame_size + 5 * MINI.hop_length + MINI.hop_length // 2] = 1.0
    _, coarse = readable_levels(crop(sound), MINI)
    columns = (coarse > coarse.min()).view(LATENTS, MINI.columns_per_latent, -1).any(2)
    assert columns.nonzero().tolist() == [[2, 5]]


def test_fine_structure_is_what_an_envelope_lacks() -> None:
    torch.manual_seed(0)
    levels = torch.rand(2, 3, 100)
    assert fine_structure(torch.ones(2, 3, 100)).abs().max() < 1e-6
    torch.testing.assert_close(fine_structure(levels + 5), fine_structure(levels), rtol=0, atol=1e-5)


def test_it_teaches_the_encoder_and_leaves_the_decoder_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    monkeypatch.setattr(model.decoder, "forward", None)  # nothing may decode
    training = TrainingModule(model, {"readout": Readout()})
    learn(training, 2)
    assert model.encoder.conv_inp.weight.grad is not None
    assert model.encoder.conv_inp.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in model.decoder.parameters())


def test_levels_become_readable() -> None:
    training = TrainingModule(small_model(), {"readout": Readout()})
    with torch.no_grad():
        training.model.encoder.conv_out.weight[2:] = 0
    before = learn(training, 20, lr=0.0)
    assert learn(training, 60, lr=3e-4) < 0.5 * before
