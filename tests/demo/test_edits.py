"""What can be done to latents: each edit does nothing at its neutral value, and to time what it says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from music2latent import InputError, Latents
from music2latent.chunks import latents_needed
from music2latent.demo.edits import add_noise, mix, scale, stretch, swap_halves

RATES = st.sampled_from([8000, 44100, 48000, 96000])


def _latents(num_samples: int = 100_000, *, rate: int = 44100, channels: int = 1, seed: int = 0) -> Latents:
    empty = Latents.from_array(np.zeros((1, 2), np.float32), model_id="m", fingerprint="f")
    length = latents_needed(-(-num_samples * 44100 // rate), empty)
    values = np.random.default_rng(seed).standard_normal((channels, 5, length), np.float32)
    return replace(empty, values=torch.from_numpy(values), sample_rate=rate, num_samples=num_samples)


records = st.builds(_latents, st.integers(1, 300_000), rate=RATES, channels=st.integers(1, 2), seed=st.integers(0, 9))


@given(records, st.floats(0.25, 4))
def test_stretched_they_last_as_many_times_as_long(latents: Latents, factor: float) -> None:
    found = stretch(latents, factor)
    assert abs(found.num_samples - latents.num_samples * factor) <= 1
    assert float(found.values.min()) >= float(latents.values.min()) - 1e-6
    assert float(found.values.max()) <= float(latents.values.max()) + 1e-6


@given(records)
def test_neutral_edits_change_nothing(latents: Latents) -> None:
    for same in (stretch(latents, 1), scale(latents, 1), add_noise(latents, 0), mix(latents, latents, 0.3)):
        assert torch.allclose(same.values, latents.values, atol=1e-6)
        assert same.num_samples == latents.num_samples


@pytest.mark.parametrize("factor", [0.5, 0.7, 2, 3.3])
def test_what_sounded_at_t_sounds_at_t_times_the_factor(factor: float) -> None:
    latents = _latents()
    clock = torch.from_numpy(latents.times).float().expand(1, 5, -1)
    found = stretch(replace(latents, values=clock), factor)
    inside = (found.times / factor > latents.times[0]) & (found.times / factor < latents.times[-1])
    assert inside.sum() > 5
    assert np.allclose(found.numpy()[0, 0][inside], found.times[inside] / factor, atol=1e-5)


@given(records, records, st.floats(0, 1))
def test_a_mix_lies_between_the_two_and_is_as_long_as_the_shorter(one: Latents, other: Latents, share: float) -> None:
    if one.channels != other.channels:
        other = replace(other, values=other.values[:1].expand(one.channels, -1, -1))
    found = mix(one, other, share)
    length = found.shape[-1]
    assert abs(found.duration - min(one.duration, other.duration)) <= 1 / found.sample_rate
    expected = (1 - share) * one.values[..., :length] + share * other.values[..., :length]
    assert torch.allclose(found.values, expected, atol=1e-5)


def test_one_channel_mixes_with_two() -> None:
    mono, stereo = _latents(), _latents(channels=2, seed=1)
    assert torch.equal(mix(mono, stereo, 0).values, mono.values.expand(2, -1, -1))
    assert torch.equal(mix(stereo, mono, 0).values, stereo.values)


def test_noise_has_its_level_and_its_seed() -> None:
    latents = _latents(2_000_000)
    added = add_noise(latents, 0.5, seed=3).values - latents.values
    assert abs(float(added.std()) - 0.5) < 0.02
    assert torch.equal(add_noise(latents, 0.5, seed=3).values - latents.values, added)
    assert not torch.equal(add_noise(latents, 0.5, seed=4).values - latents.values, added)
    assert torch.equal(scale(latents, 2).values, 2 * latents.values)


def test_swapped_twice_the_halves_are_back() -> None:
    latents = _latents(20 * 4096)
    swapped = swap_halves(latents)
    assert swapped.num_samples == latents.num_samples
    assert torch.equal(swapped.values[..., :10], latents.values[..., 10:20])
    assert torch.equal(swap_halves(swapped).values[..., :20], latents.values[..., :20])


@pytest.mark.parametrize("value", [-0.1, 4.1, float("nan"), None, "1"])
def test_edits_out_of_range_are_refused(value: Any) -> None:
    latents = _latents()
    for edit in (scale, add_noise, stretch, lambda one, share: mix(one, one, share)):
        with pytest.raises(InputError, match=r"accepted: .* to"):
            edit(latents, value)


def test_what_cannot_be_mixed_or_swapped_is_refused() -> None:
    with pytest.raises(InputError, match="different fingerprint"):
        mix(_latents(), replace(_latents(), fingerprint="other"), 0.5)
    with pytest.raises(InputError, match="2 and 3 channels"):
        mix(_latents(channels=2), _latents(channels=3), 0.5)
    with pytest.raises(InputError, match="no whole frame"):
        swap_halves(_latents(100))
