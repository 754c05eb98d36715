"""A semitone is told apart wherever it is, a phase nowhere."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from music2latent.training.objectives import ConstantQ

from ..small import small_batch


def tone(midi: float, phase: float = 0.0) -> torch.Tensor:
    """`[1, 32768]` at 44.1 kHz."""
    frequency = 440 * 2 ** ((midi - 69) / 12)
    return 0.1 * torch.sin(2 * math.pi * frequency / 44100 * torch.arange(32768.0) + phase)[None]


def cost(decoded: torch.Tensor, original: torch.Tensor, decibels: float = 80.0) -> tuple[float, float]:
    """Loss, and how much too loud in dB."""
    batch = small_batch()
    batch = dataclasses.replace(batch, audio=torch.nn.functional.pad(original, 2 * [batch.model.config.edge]))
    batch.__dict__["decoded"] = decoded
    loss, figures = ConstantQ(decibels=decibels)(batch)
    return float(loss), float(figures["louder"])


@pytest.mark.parametrize("octave", range(7))
def test_a_note_is_told_from_its_neighbour_in_every_octave(octave: int) -> None:
    note = 28 + 12 * octave
    same, _ = cost(tone(note, 1.0), tone(note), decibels=40)
    neighbour, _ = cost(tone(note + 1), tone(note), decibels=40)
    assert neighbour > 5 * same
    assert neighbour > 0.05


def test_octaves_count_alike() -> None:
    costs = [cost(tone(28 + 12 * octave) / 2, tone(28 + 12 * octave), decibels=30)[0] for octave in range(7)]
    assert max(costs) < 1.5 * min(costs)


def test_a_level_is_heard_in_decibels_down_to_the_floor() -> None:
    noise = torch.randn(1, 32768, generator=torch.Generator().manual_seed(0))
    assert cost(noise, noise) == (0, 0)
    assert cost(noise / 2, noise) == pytest.approx((2 * math.log10(2), -20 * math.log10(2)), rel=0.01)
    hum = tone(30)
    assert cost(hum + 1e-6 * noise, hum, decibels=60)[0] < 1e-3
    assert cost(hum + 0.01 * noise, hum, decibels=60)[0] > 0.1
