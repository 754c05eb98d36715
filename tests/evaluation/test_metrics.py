"""Metrics give the answers that one can work out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from music2latent.audio import open_audio, read_whole
from music2latent.evaluation import metrics
from music2latent.stft import log_spectral_distance

from ..helpers import CLIP

RATE = 44100


@pytest.fixture(scope="module")
def music() -> Tensor:
    return torch.from_numpy(read_whole(open_audio(CLIP), RATE)[:, : 3 * RATE].copy())


@pytest.fixture(scope="module")
def noise() -> Tensor:
    return 0.1 * torch.randn(2, 3 * RATE, generator=torch.Generator().manual_seed(0))


def test_identity_is_best(music: Tensor) -> None:
    found = metrics.measure(music, music, RATE)
    assert found["si_sdr"] > 60
    assert found["visqol"] > 4.6
    zero = ("log_spectral_distance", "multi_resolution_stft", "mel_distance", "loudness_difference")
    assert [found[name] for name in zero] == pytest.approx([0, 0, 0, 0], abs=1e-6)


def test_half_the_gain_is_six_decibels_everywhere(music: Tensor, noise: Tensor) -> None:
    decibels = 20 * math.log10(2)
    assert metrics.loudness_difference(noise / 2, noise, RATE) == pytest.approx(-decibels, abs=0.01)
    assert metrics.mel_distance(noise / 2, noise, RATE) == pytest.approx(decibels, abs=0.01)
    assert float(log_spectral_distance(noise / 2, noise).mean()) == pytest.approx(decibels, abs=0.01)
    assert metrics.si_sdr(music / 2, music, RATE) > 60, "scale-invariant"


@pytest.mark.parametrize("decibels", [0, 10, 30])
def test_white_noise_at_a_known_ratio(music: Tensor, decibels: float) -> None:
    noise = torch.randn(music.shape, generator=torch.Generator().manual_seed(1))
    noise *= (music.square().mean(1) / noise.square().mean(1) / 10 ** (decibels / 10)).sqrt()[:, None]
    assert metrics.si_sdr(music + noise, music, RATE) == pytest.approx(decibels, abs=0.1)


def test_more_noise_is_worse(music: Tensor) -> None:
    noise = torch.randn(music.shape, generator=torch.Generator().manual_seed(1))
    little, much = (metrics.measure(music + gain * noise, music, RATE) for gain in (0.001, 0.05))
    for name, metric in metrics.METRICS.items():
        if metric.better == "higher":
            assert little[name] > much[name]
        if metric.better == "lower":
            assert little[name] < much[name]


def test_a_delay_ruins_the_phase_and_little_else(music: Tensor) -> None:
    late = music.roll(20, dims=1)
    assert metrics.si_sdr(late, music, RATE) < 20
    assert metrics.visqol(late, music, RATE) > 4.4
    assert float(log_spectral_distance(late, music).mean()) < 3


def test_what_is_not_defined_is_nan(noise: Tensor) -> None:
    silence = torch.zeros(1, RATE)
    assert math.isnan(metrics.loudness_difference(noise[:, :4410], noise[:, :4410], RATE)), "under 0.4 s"
    assert math.isnan(metrics.loudness_difference(silence, silence, RATE))
    assert all(isinstance(value, float) for value in metrics.measure(silence, silence, RATE).values())


def test_far_below_hearing_nothing_counts() -> None:
    silence = torch.zeros(1, RATE)
    dither = 1e-7 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    assert float(log_spectral_distance(dither, silence)) == 0
