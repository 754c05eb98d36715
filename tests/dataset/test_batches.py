from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from music2latent.chunks import ChunkPlan, encoder_context
from music2latent.dataset.batches import Assembly, Batch, Coding, Mapper, Outcome, batched
from music2latent.dataset.reading import Facts, Failure

from ..helpers import noise
from .inline import least

PLAN = ChunkPlan(64, encoder_context(least().config))
CODING = replace(Coding.of(least(), 44100, lead_is_half=False), plan=PLAN)
SECONDS = 64 * least().frame_size / 44100
FACTS = Facts(hash="", size=1, sample_rate=44100, channels=2, num_samples=1)


def _parts(lengths: list[int]) -> list[object]:
    parts: list[object] = []
    for number, samples in enumerate(lengths):
        if samples:
            parts += [(number, FACTS), (number, noise(2, samples, seed=number)), (number, None)]
        else:
            parts += [(number, Failure("bad")), (number, None)]
    return parts


@settings(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 3000), max_size=5),
    size=st.integers(1, 5),
    order=st.randoms(use_true_random=False),
)
def test_batches_in_any_order_make_what_signals_alone_make(lengths: list[int], size: int, order: object) -> None:
    mapper = Mapper(least(), features=False)
    events = list(batched(_parts(lengths), CODING, size))  # type: ignore[arg-type]
    rows = [row for event in events if isinstance(event, Batch) for row in event.rows]
    assert len(set(rows)) == len(rows)
    assert all(len(event.rows) <= size for event in events if isinstance(event, Batch))
    coded = [mapper(event) if isinstance(event, Batch) else event for event in events]
    order.shuffle(coded)  # type: ignore[attr-defined]
    assembly = Assembly(CODING.plan)
    found = [one for event in coded for one in assembly.push(event)]
    assert [number for number, _, _ in found] == list(range(len(lengths)))
    for (number, _, values), samples in zip(found, lengths, strict=True):
        assert (values is None) == (samples == 0)
        if values is not None:
            expected = (
                least().compress(noise(2, samples, seed=number), 44100, chunk_seconds=SECONDS).values
                * CODING.latent_scale
            )
            assert (values - expected).abs().max() < 1e-4


def test_rows_that_wait_are_few() -> None:
    waiting = 0
    lengths = list(range(100, 3000, 37))
    for event in batched(_parts(lengths), CODING, 4):  # type: ignore[arg-type]
        waiting += 2 if isinstance(event, Outcome) else -len(event.rows)
        assert waiting <= 4 * 4


def test_out_of_memory_halves_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    mapper = Mapper(least(), features=False)
    (batch,) = (one for one in batched(_parts([300, 300, 300]), CODING, 6) if isinstance(one, Batch))  # type: ignore[arg-type]
    whole = mapper(batch)
    encode = mapper._model.encode
    sizes: list[int] = []

    def little_memory(segments: torch.Tensor) -> torch.Tensor:
        if len(segments) > room:
            raise torch.OutOfMemoryError
        sizes.append(len(segments))
        return encode(segments)

    monkeypatch.setattr(mapper._model, "encode", little_memory)
    room = 2
    assert np.abs(mapper(batch).values - whole.values).max() < 1e-5
    assert sizes == [1, 2, 1, 2]
    room = 0
    with pytest.raises(torch.OutOfMemoryError):
        mapper(batch)
