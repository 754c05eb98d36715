"""Codecs to compare: real coders at real bitrates, and ours with options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from music2latent.errors import InputError
from music2latent.evaluation.peers import make_codec


@pytest.mark.parametrize(("name", "kilobits"), [("opus:32", 32), ("opus:96", 96), ("mp3:64", 64)])
@pytest.mark.parametrize("channels", [1, 2])
def test_classic_coders_keep_time_length_and_bitrate(
    music: torch.Tensor, name: str, kilobits: float, channels: int
) -> None:
    original = music[:1] if channels == 1 else torch.cat([music[:1], music[:1].roll(100, dims=1)])
    coded = make_codec(name)(original, 44100, 0)
    assert coded.audio.shape == original.shape
    assert coded.bits / 4 / channels == pytest.approx(1000 * kilobits, rel=0.35), "variable rate: about that much"
    for one, other in zip(original.numpy(), coded.audio.numpy(), strict=True):
        spectrum = np.fft.rfft(one, 2**19).conj() * np.fft.rfft(other, 2**19)
        assert int(np.fft.irfft(spectrum).argmax()) == 0, "neither early nor late"


def test_int8_latents_are_half_the_bits_and_nearly_as_good(music: torch.Tensor) -> None:
    sixteen, eight = (make_codec(name)(music[:1, :88200], 44100, 0) for name in ("mini", "mini@int8"))
    assert eight.bits == sixteen.bits / 2 == 64 * 22 * 8
    assert not torch.equal(eight.audio, sixteen.audio)
    assert (eight.audio - sixteen.audio).norm() < 0.5 * sixteen.audio.norm()


def test_the_official_model_has_its_packages_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("music2latent.evaluation.peers.EncoderDecoder", lambda model, **_: model)
    found: list[Any] = [make_codec(name) for name in ("music2latent", "mini@2")]
    assert [one.codec for one in found] == ["SonyCSLParis/music2latent", "mini"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("opus", "expected a bitrate in kbit/s"),
        ("mini@loud", "unknown option 'loud'"),
        ("nowhere", "unknown model"),
    ],
)
def test_refuses_what_it_does_not_know(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_codec(name)
