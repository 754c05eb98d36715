"""Whose latents the new ones tell, and whom that teaches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from music2latent import InputError
from music2latent.checkpoint import write_safetensors
from music2latent.training.module import TrainingModule
from music2latent.training.objectives import Distillation

from ...helpers import reference_checkpoint
from ..small import SMALL, learn, small_model


@pytest.fixture
def teacher(tmp_path: Path) -> str:
    start = replace(reference_checkpoint("tiny"), config=SMALL, state_dict=small_model().state_dict())
    write_safetensors(tmp_path / "teacher.safetensors", start)
    return str(tmp_path / "teacher.safetensors")


@pytest.mark.parametrize("sign", [1, -1])
def test_a_linear_map_of_the_teachers_latents_costs_nothing(teacher: str, sign: int) -> None:
    model = small_model()
    with torch.no_grad():  # tanh is odd
        for parameter in model.encoder.conv_out.parameters():
            parameter.mul_(sign)
    model.requires_grad_(False)
    assert learn(TrainingModule(model, {"distillation": Distillation(teacher=teacher)}), 3) < 0.01


def test_latents_that_are_lost_cost_much(teacher: str) -> None:
    model = small_model()
    with torch.no_grad():
        model.encoder.conv_out.weight[2:] = 0
    model.requires_grad_(False)
    assert learn(TrainingModule(model, {"distillation": Distillation(teacher=teacher)}), 3) > 0.1


def test_it_teaches_the_encoder_alone(teacher: str) -> None:
    training = TrainingModule(small_model(), {"distillation": Distillation(teacher=teacher)})
    with torch.no_grad():
        training.model.encoder.conv_out.weight[2:] = 0
    before = learn(training, 3)
    assert learn(training, 60) < 0.5 * before
    assert all(parameter.grad is None for parameter in training.model.decoder.parameters())


def test_another_kind_of_latents_is_refused(teacher: str) -> None:
    with pytest.raises(InputError, match=r"teacher mini has latent_dim, frame_size, hop_length = \(64, 4096, 512\)"):
        TrainingModule(small_model(), {"distillation": Distillation()})
