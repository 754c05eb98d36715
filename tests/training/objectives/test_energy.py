"""The energy score prefers the original's own distribution to a smooth median; the distance in it does not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from music2latent.training.objectives import Batch, Energy
from music2latent.training.objectives.energy import frame_distance

from ..small import small_batch

SIZES = (64, 128)


def _score(batch: Batch, decoded: Tensor, again: Tensor) -> tuple[float, float]:
    """The objective where these were decoded, and how far apart it finds them."""
    batch = dataclasses.replace(batch)
    batch.__dict__.update(decoded=decoded, decoded_again=again)
    loss, figures = Energy(sizes=SIZES)(batch)
    return float(loss), float(figures["apart"])


def _noise(seed: int) -> Tensor:
    return 0.1 * torch.randn(2, 1024, generator=torch.Generator().manual_seed(seed))


def test_other_noise_beats_silence_as_an_answer_to_noise() -> None:
    batch = small_batch()
    audio = torch.nn.functional.pad(_noise(0), (batch.model.config.edge,) * 2)
    batch = dataclasses.replace(batch, audio=audio)
    (sampled, apart), (silent, none) = _score(batch, _noise(1), _noise(2)), _score(batch, *[torch.zeros(2, 1024)] * 2)
    assert sampled < silent
    assert apart == pytest.approx(1, abs=0.1)
    assert none == pytest.approx(0, abs=1e-4)
    same, _ = _score(batch, _noise(0), _noise(0))
    assert same < 1e-4 < sampled, "the original itself is best"


def test_the_distance_is_a_metric() -> None:
    a, b, c = (torch.randn(1, 9, 33, 2, generator=torch.Generator().manual_seed(s)) for s in range(3))
    one, two, three = (torch.view_as_complex(x) for x in (a, b, c))
    scale = torch.ones(1)
    assert frame_distance(one, one, scale, 1.0).item() < 1e-5
    assert frame_distance(one, two, scale, 1.0).equal(frame_distance(two, one, scale, 1.0))
    detour = frame_distance(one, three, scale, 1.0) + frame_distance(three, two, scale, 1.0)
    assert frame_distance(one, two, scale, 1.0) < detour


def test_two_decodings_differ_by_their_noise_alone() -> None:
    batch = small_batch()
    assert not torch.equal(batch.decoded, batch.decoded_again)
    mirrored = dataclasses.replace(batch, noise=batch.noise.flip(-1))
    assert torch.equal(mirrored.decoded, batch.decoded_again)
