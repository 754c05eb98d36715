"""Steady tones: what stands still in a spectrogram, and what is drawn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from music2latent.nn import tones
from music2latent.nn.tones import MIDDLE, UNHEARD, Tones, draw, measure, steady
from music2latent.spectrogram import expand, inverse, spectrogram

from ..training.small import SMALL

HOP = 64
BINS = 2 * HOP


def tone(number: int, columns: int = 16) -> torch.Tensor:
    """A cosine of amplitude 0.1, `number` halves of a bin high, that begins as the drawn one does."""
    time = torch.arange(HOP * columns + 3 * HOP, dtype=torch.float64)
    begins = float(tones._oscillators(2 * BINS)[1, number, 0]), float(tones._oscillators(2 * BINS)[0, number, 0])
    return (0.1 * torch.cos(math.pi * number * time / BINS / 2 + math.atan2(*begins)))[None].float()


@pytest.mark.parametrize("number", [10, 11, 80, 81, 2 * BINS - 6])
def test_drawn_is_the_spectrogram_of_what_sounds(number: int) -> None:
    amplitudes = torch.zeros(1, 2 * BINS, 2)
    amplitudes[:, number] = 0.1
    found, wanted = expand(draw(amplitudes, 2 * BINS)), expand(spectrogram(tone(number), HOP))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.03 * float(wanted.abs().max()))  # far bins are left out
    edge = 3 * HOP
    torch.testing.assert_close(
        inverse(draw(amplitudes, 2 * BINS))[:, edge:-edge], tone(number)[:, edge:-edge], rtol=0, atol=0.002
    )


def test_amplitudes_fade_from_latent_to_latent() -> None:
    amplitudes = torch.zeros(1, 2 * BINS, 4)
    amplitudes[:, 20, 2:] = 0.1
    heard = inverse(draw(amplitudes, 2 * BINS))[0, 3 * HOP : -3 * HOP].unfold(0, 2 * HOP, HOP).std(1) * math.sqrt(2)
    assert heard[0] < 1e-3
    assert heard[-1] == pytest.approx(0.1, rel=0.01)
    assert (heard.diff() > -2e-3).all()


def test_later_latents_sound_the_same_without_those_before() -> None:
    amplitudes = 0.1 * torch.rand(1, 2 * BINS, 6)
    whole, later = draw(amplitudes, 2 * BINS), draw(amplitudes[..., 1:], 2 * BINS)
    half = 4  # columns of the first latent that fade in from the one before
    torch.testing.assert_close(later[..., half:], whole[..., 8 + half :], rtol=0, atol=1e-5)


def test_a_tone_in_the_middle_of_a_bin_stands_still() -> None:
    x = spectrogram(tone(2 * 17), HOP)
    turned = steady(x)[0, :, 17]
    torch.testing.assert_close(turned, turned[:, :1].expand_as(turned), rtol=0, atol=1e-5)
    assert (x[0, :, 17].diff(dim=1).abs().amax(0) > 0.1).all()  # as the spectrogram has it, it goes round
    torch.testing.assert_close(steady(x).square().sum(1), x.square().sum(1))


@pytest.mark.parametrize("number", [1, 10, 11, 80, 81, 2 * BINS - 6])
def test_measured_is_the_level_of_what_sounds(number: int) -> None:
    levels = measure(spectrogram(tone(number, 32), HOP))[0] + MIDDLE
    assert levels.shape == (2 * BINS, 4)
    assert levels[number].tolist() == pytest.approx([-2.0] * 4, abs=0.02)
    elsewhere = [other for other in range(2 * BINS) if abs(other - number) > 2]
    assert levels[elsewhere].max() < -4


def test_measured_is_what_was_drawn() -> None:
    amplitudes = torch.zeros(2, 2 * BINS, 5)
    amplitudes[:, 16::16] = 10 ** -(1 + torch.rand(2, 2 * BINS // 16 - 1, 1))
    found = 10 ** ((measure(draw(amplitudes, 2 * BINS)) + MIDDLE) / 2)
    torch.testing.assert_close(found[:, 16::16], amplitudes[:, 16::16], rtol=0.02, atol=0)


def test_levels_are_of_two_latents_and_do_not_depend_on_what_lies_further_off() -> None:
    x = spectrogram(torch.randn(1, HOP * 48 + 3 * HOP), HOP)
    whole, later = measure(x), measure(x[..., 16:])
    torch.testing.assert_close(later[..., 1:], whole[..., 3:])
    changed = x.clone()
    changed[..., 12:] = 0  # from half a latent after the first one on
    torch.testing.assert_close(measure(changed)[..., 0], whole[..., 0])
    assert (measure(changed)[..., 1] - whole[..., 1]).abs().mean() > 0.1


def test_silence_is_measured() -> None:
    torch.testing.assert_close(
        measure(torch.zeros(1, 2, BINS, 16)), torch.full((1, 2 * BINS, 2), UNHEARD - MIDDLE), rtol=0, atol=1e-5
    )


def test_levels_are_linear_in_the_latents_and_no_louder_than_they_may_be() -> None:
    network = Tones(replace(SMALL, tones=True))
    with torch.no_grad():
        weight, bias = network.levels.parameters()
        weight.zero_()
        bias.fill_(-8.0)
        bias[20], bias[40] = 5.0, -2.0
        x = network(torch.zeros(1, SMALL.latent_dim, 4))
    amplitudes = torch.full((1, 2 * SMALL.bins, 4), 1e-4)
    amplitudes[:, 20], amplitudes[:, 40] = 10 ** (tones.LOUDEST / 2), 0.1
    torch.testing.assert_close(x, draw(amplitudes, SMALL.n_fft))
