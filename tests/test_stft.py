"""Magnitudes of the plain STFT, and the distance in them."""

from __future__ import annotations

import math

import pytest
import torch

from music2latent.stft import SILENT, log_spectral_distance, magnitudes, picture

from .helpers import sound

N_FFT = 512


@pytest.mark.parametrize("pad", [False, True])
def test_magnitudes_are_torchs(pad: bool) -> None:
    audio = torch.from_numpy(sound(2, 5000))
    window = torch.hann_window(N_FFT)
    expected = torch.stft(audio, N_FFT, N_FFT // 4, window=window, center=pad, return_complex=True).abs()
    found = magnitudes(audio, N_FFT, pad=pad)
    torch.testing.assert_close(found, expected.transpose(1, 2) / math.sqrt(N_FFT), rtol=1e-4, atol=1e-5)


def test_a_full_scale_tone_is_100_decibels_over_silence() -> None:
    tone = torch.cos(2 * math.pi * 32 / N_FFT * torch.arange(4096))[None]
    level = 20 * math.log10(magnitudes(tone, N_FFT, pad=False)[0, :, 32].max().item() / SILENT)
    assert level == pytest.approx(100, abs=6)  # 20 log10(sqrt(n_fft) / 4) more, which is 15 for 512 and 21 for 2048


def test_half_the_gain_is_six_decibels() -> None:
    audio = 0.1 * torch.randn(2, 20000, generator=torch.Generator().manual_seed(0))
    distance = log_spectral_distance(audio / 2, audio)
    assert distance.shape == (2,)
    assert distance.tolist() == pytest.approx([20 * math.log10(2)] * 2, abs=0.01)
    assert log_spectral_distance(audio, audio).tolist() == [0, 0]


def test_short_audio_is_padded() -> None:
    audio = 0.1 * torch.randn(1, 1500, generator=torch.Generator().manual_seed(0))
    assert log_spectral_distance(audio / 2, audio).item() == pytest.approx(20 * math.log10(2), abs=0.01)


def test_a_picture_of_silence_is_dark_and_one_of_a_tone_is_not() -> None:
    tone = torch.cos(0.3 * torch.arange(9000))
    assert picture(torch.zeros(9000), 128).max() == 0
    assert picture(tone, 128).max() > 0.9
