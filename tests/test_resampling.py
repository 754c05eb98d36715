"""Resampling keeps tones, lengths and the shortest audio."""

from __future__ import annotations

import numpy as np
import pytest

from music2latent import InputError
from music2latent.resampling import RATES, check_rate, resample

from .helpers import sound


@pytest.mark.parametrize(("rate_in", "rate_out"), [(48000, 44100), (22050, 44100), (44100, 48000), (96000, 44100)])
def test_a_tone_keeps_its_frequency_level_and_place(rate_in: int, rate_out: int) -> None:
    def tone(rate: int) -> np.ndarray:
        return (0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)).astype(np.float32)[None]

    blocks = np.array_split(tone(rate_in), 7, axis=1)
    out = np.concatenate(list(resample(blocks, 1, rate_in, rate_out)), axis=1)
    assert out.shape == (1, rate_out)
    inner = slice(rate_out // 10, -rate_out // 10)
    np.testing.assert_allclose(out[:, inner], tone(rate_out)[:, inner], atol=1e-4)


def test_equal_rates_pass_untouched() -> None:
    samples = sound(2, 1000)
    (out,) = resample([samples], 2, 44100, 44100)
    assert out is samples


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_the_shortest_audio_survives(samples: int) -> None:
    out = list(resample([np.ones((1, samples), np.float32)], 1, 192000, 44100))
    assert sum(block.shape[1] for block in out) >= 1


@pytest.mark.parametrize(("rate_in", "rate_out"), [RATES, RATES[::-1]])
def test_the_outermost_rates(rate_in: int, rate_out: int) -> None:
    silence = np.zeros((1, rate_in // 10), np.float32)
    length = sum(block.shape[1] for block in resample([silence], 1, rate_in, rate_out))
    assert abs(length - rate_out // 10) <= 1


@pytest.mark.parametrize("rate", [0, 1, 999, 768_001, 2**31 - 1, -44100, 44100.5, "44100", None])
def test_rates_that_are_refused(rate: object) -> None:
    with pytest.raises(InputError, match=r"rate = .*; accepted: whole numbers from 1000 to 768000"):
        check_rate("rate", rate)
