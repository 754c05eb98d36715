"""What places of the encoder's deepest maps are to tell, and whom that teaches."""

from __future__ import annotations

import math

import torch

from music2latent.config import PRESETS
from music2latent.training.module import TrainingModule
from music2latent.training.objectives import Features
from music2latent.training.objectives.features import place_levels

from ..small import learn, small_model
from .test_readout import LATENTS, crop

MINI = PRESETS["mini"]


def test_a_tone_is_heard_in_its_place_at_its_bin() -> None:
    frequency = 3520.0
    time = torch.arange(LATENTS * MINI.frame_size) / MINI.sample_rate
    levels, _ = place_levels(crop(0.1 * (2 * math.pi * frequency * time).sin()), MINI)
    bins = MINI.frame_size // MINI.bottom_bins
    assert levels.shape == (1, bins, MINI.bottom_bins, LATENTS)
    bin_, place = divmod(int(levels[0, :, :, 1].argmax()), MINI.bottom_bins)
    assert place * bins + bin_ == round(frequency * 2 * MINI.frame_size / MINI.sample_rate)


def test_a_click_is_heard_in_its_latent_and_column() -> None:
    sound = torch.zeros(LATENTS * MINI.frame_size)
    sound[2 * MINI.frame_size + 5 * MINI.hop_length + MINI.hop_length // 2] = 1.0
    _, columns = place_levels(crop(sound), MINI)
    assert (columns[0] > columns.min()).any(1).nonzero().tolist() == [[5, 2]]


def test_it_teaches_the_features_alone() -> None:
    training = TrainingModule(small_model(), {"features": Features()})
    learn(training, 2)
    encoder = training.model.encoder
    assert encoder.conv_inp.weight.grad is not None
    assert encoder.conv_inp.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in encoder.bottleneck_layers.parameters())
