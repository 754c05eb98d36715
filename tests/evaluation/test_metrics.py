"""Metrics give the answers that one can work out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from music2latent.audio import open_audio, read_whole
from music2latent.evaluation import metrics
from music2latent.evaluation.sound import Sound
from music2latent.stft import log_spectral_distance

from ..helpers import CLIP

RATE = 44100


def measure(estimate: Tensor, reference: Tensor) -> dict[str, float]:
    return metrics.measure(Sound(estimate, RATE), Sound(reference, RATE))


def figure(name: str, estimate: Tensor, reference: Tensor) -> float:
    return metrics.METRICS[name].measure(Sound(estimate, RATE), Sound(reference, RATE))


@pytest.fixture(scope="module")
def music() -> Tensor:
    return torch.from_numpy(read_whole(open_audio(CLIP), RATE)[:, : 3 * RATE].copy())


@pytest.fixture(scope="module")
def noise() -> Tensor:
    return 0.1 * torch.randn(2, 3 * RATE, generator=torch.Generator().manual_seed(0))


def test_identity_is_best(music: Tensor) -> None:
    found = measure(music, music)
    assert found["si_sdr"] > 60
    assert found["visqol"] > 4.6
    assert found["chroma_cosine"] == pytest.approx(1)
    zero = [name for name, metric in metrics.METRICS.items() if metric.better in ("lower", "nearer 0")]
    assert [found[name] for name in zero] == pytest.approx([0] * 8, abs=1e-6, nan_ok=True)


def test_half_the_gain_is_six_decibels_everywhere(music: Tensor, noise: Tensor) -> None:
    decibels = 20 * math.log10(2)
    assert figure("loudness_difference", noise / 2, noise) == pytest.approx(-decibels, abs=0.01)
    assert figure("mel_distance", noise / 2, noise) == pytest.approx(decibels, abs=0.01)
    assert float(log_spectral_distance(noise / 2, noise).mean()) == pytest.approx(decibels, abs=0.01)
    assert figure("constant_q_difference", noise / 2, noise) == pytest.approx(decibels, abs=0.01)
    assert figure("spectral_convergence", noise / 2, noise) == pytest.approx(0.5, abs=1e-3)
    assert figure("si_sdr", music / 2, music) > 60, "scale-invariant"


@pytest.mark.parametrize("decibels", [0, 10, 30])
def test_white_noise_at_a_known_ratio(music: Tensor, decibels: float) -> None:
    noise = torch.randn(music.shape, generator=torch.Generator().manual_seed(1))
    noise *= (music.square().mean(1) / noise.square().mean(1) / 10 ** (decibels / 10)).sqrt()[:, None]
    assert figure("si_sdr", music + noise, music) == pytest.approx(decibels, abs=0.1)


def test_more_noise_is_worse(music: Tensor) -> None:
    noise = torch.randn(music.shape, generator=torch.Generator().manual_seed(1))
    little, much = (measure(music + gain * noise, music) for gain in (0.001, 0.05))
    for name in set(metrics.METRICS) - {"loudness_difference", "f0_error", "voicing_error"}:  # pitch survives so little
        assert little[name] != much[name]
        assert (little[name] > much[name]) == (metrics.METRICS[name].better == "higher"), name


def test_a_delay_ruins_the_phase_and_little_else(music: Tensor) -> None:
    late = music.roll(20, dims=1)
    assert figure("si_sdr", late, music) < 20
    assert figure("visqol", late, music) > 4.4
    assert float(log_spectral_distance(late, music).mean()) < 3


def notes(*frequencies: float) -> Tensor:
    """Notes of eight partials each, 3 s: `[1, n]`."""
    time = torch.arange(3 * RATE) / RATE
    partials = torch.outer(torch.tensor(frequencies), torch.arange(1.0, 9)).flatten()[:, None]
    return 0.03 * torch.sin(2 * torch.pi * partials * time).sum(0)[None]


def smeared(sound: Tensor) -> Tensor:
    """Noise with a spectrum that is the sound's, but for its resolution of a third of an octave."""
    noise = torch.fft.rfft(torch.randn(sound.shape, generator=torch.Generator().manual_seed(0)))
    power = torch.fft.rfft(sound).abs().square()[0].cumsum(0)
    width = torch.arange(len(power)) * 0.12
    low, high = (torch.arange(len(power)) + sign * width for sign in (-1, 1))
    inside = power[high.long().clamp(max=len(power) - 1)] - power[low.long()]
    smear = torch.fft.irfft(noise * (inside / (1 + width)).clamp(min=0).sqrt(), sound.shape[1])
    return smear * sound.norm() / smear.norm()


def test_tonal_figures_tell_notes_from_their_envelope() -> None:
    chord = notes(220.0, 277.18, 329.63)
    smear, late = smeared(chord), 0.9 * chord.roll(99)
    assert figure("chroma_cosine", smear, chord) < 0.9 < 0.97 < figure("chroma_cosine", late, chord)
    assert figure("spectral_convergence", smear, chord) > 0.7 > 0.15 > figure("spectral_convergence", late, chord)
    assert figure("constant_q_difference", smear, chord) > 2 * figure("constant_q_difference", late, chord)


@pytest.mark.parametrize("cents", [30.0, 100.0])
def test_pitch_that_is_off_is_measured_in_cents(cents: float) -> None:
    assert figure("f0_error", notes(220 * 2 ** (cents / 1200)), notes(220.0)) == pytest.approx(cents, abs=10)


def test_voicing_counts_where_one_is_voiced(noise: Tensor) -> None:
    note = notes(220.0)
    half = torch.cat([note[:, : note.shape[1] // 2], torch.zeros_like(note)], dim=1)[:, : note.shape[1]]
    assert figure("voicing_error", half, note) == pytest.approx(50, abs=10)
    assert math.isnan(figure("voicing_error", note, noise)), "the original is not voiced"
    assert math.isnan(figure("f0_error", torch.zeros_like(note), note)), "never are both"


def test_what_is_not_defined_is_nan(noise: Tensor) -> None:
    silence = torch.zeros(1, RATE)
    assert math.isnan(figure("loudness_difference", noise[:, :4410], noise[:, :4410])), "under 0.4 s"
    assert math.isnan(figure("loudness_difference", silence, silence))
    found = measure(silence, silence)
    assert all(isinstance(value, float) for value in found.values())
    assert all(math.isnan(found[name]) for name in ("chroma_cosine", "spectral_convergence", "f0_error"))


def test_far_below_hearing_nothing_counts() -> None:
    silence = torch.zeros(1, RATE)
    dither = 1e-7 * torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    assert float(log_spectral_distance(dither, silence)) == 0


@pytest.mark.parametrize(("channels", "rate"), [(1, 8000), (6, 44100)])
def test_telephone_speech_and_surround_sound_are_measured(channels: int, rate: int) -> None:
    sound = Sound(0.1 * torch.randn(channels, rate, generator=torch.Generator().manual_seed(0)), rate)
    found = metrics.measure(sound, sound)
    assert found["constant_q_difference"] == 0
    assert found["chroma_cosine"] == pytest.approx(1)
    assert math.isnan(found["loudness_difference"]) == (channels > 5)
