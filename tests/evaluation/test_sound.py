"""What is taken from sounds is where one knows it to be."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from music2latent.evaluation.metrics import VOICED
from music2latent.evaluation.sound import LOWEST, Sound

RATE = 44100


def tone(frequency: float, seconds: float = 2.0) -> torch.Tensor:
    """Eight partials, each half as loud as the one before: `[1, n]`."""
    time = torch.arange(round(seconds * RATE)) / RATE
    partials = torch.arange(1, 9)[:, None]
    return (0.6 / 2**partials * torch.sin(2 * torch.pi * frequency * partials * time)).sum(0)[None]


@pytest.mark.parametrize(("frequency", "semitone"), [(110.0, 21), (261.63, 36), (440.0, 45)])
def test_a_tone_is_at_its_semitone_pitch_class_and_pitch(frequency: float, semitone: int) -> None:
    sound = Sound(tone(frequency), RATE)
    assert sound.constant_q.shape[:2] == (1, 84)
    assert np.median(sound.constant_q[0].argmax(0)) == semitone == round(12 * np.log2(frequency / LOWEST))
    assert np.median(sound.chroma[0].argmax(0)) == semitone % 12
    f0, voiced = sound.pitch
    assert voiced[5:-5].all()
    assert 1200 * np.log2(np.median(f0) / frequency) == pytest.approx(0, abs=10)


def test_noise_and_silence_have_no_pitch() -> None:
    noise = 0.1 * torch.randn(1, 2 * RATE, generator=torch.Generator().manual_seed(0))
    assert Sound(noise, RATE).pitch[1].mean() < VOICED
    assert not Sound(torch.zeros(1, RATE), RATE).pitch[1].any()


def test_short_sounds_have_figures_too() -> None:
    assert Sound(tone(440.0, 0.2), RATE).constant_q[0].argmax(0).mean() == pytest.approx(45, abs=1)
