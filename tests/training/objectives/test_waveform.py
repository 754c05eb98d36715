"""The waveform objective hears phases, which magnitudes do not."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from music2latent.training.objectives import Batch, Harmonic, Waveform

from ..small import small_batch

SIZES = (64, 128)


def _heard(batch: Batch, decoded: torch.Tensor) -> tuple[float, float]:
    """Losses of the harmonic and of the waveform objective where this was decoded."""
    batch = dataclasses.replace(batch)
    batch.__dict__["decoded"] = decoded
    return tuple(float(kind(sizes=SIZES)(batch)[0]) for kind in (Harmonic, Waveform))  # type: ignore[return-value]


def test_a_turned_phase_is_heard() -> None:
    batch = small_batch()
    same, turned, halved = (_heard(batch, gain * batch.original) for gain in (1.0, -1.0, 0.5))
    assert max(same) == 0
    assert turned[0] == 0
    assert turned[1] == pytest.approx(2, rel=1e-3)
    assert 0 < halved[1] < turned[1]
