"""Many signals as batches of chunks for the encoder, and their latents put together again.

Which chunks make a batch depends on nothing but the signals and their order, so that the numbers that come out are
the same to the last bit, whoever computes them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import spectrogram
from ..chunk_coding import Chunking, Fading
from ..chunks import ChunkPlan, encoder_context, plan_for
from ..codec import EncoderDecoder
from ..config import ModelConfig
from .reading import Facts, Failure, Part

_MOST_WAITING = 4
"""Batches' worth of chunks that wait for others of their length, at most."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One channel of one chunk of one input."""

    input: int
    chunk: int
    channel: int
    last: bool


@dataclass(frozen=True)
class Batch:
    """Chunks of one length: their samples `[B, n]` float32, later their latents `[B, D, l]` float32."""

    rows: list[Row]
    values: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """An input was read to its end, and gave so many chunks, or it failed."""

    input: int
    found: Facts | Failure
    chunks: int = 0


@dataclass(frozen=True, kw_only=True)
class Coding:
    """What the arithmetic around a model's networks needs to know."""

    config: ModelConfig
    plan: ChunkPlan
    lead: int
    """Samples that are mirrored before a signal (`BatchCoding.lead`)."""
    latent_scale: float
    model_id: str
    fingerprint: str

    @classmethod
    def of(cls, codec: EncoderDecoder, rate: int, *, lead_is_half: bool) -> Coding:
        """As `compress` codes: in the model's own chunks, or in ten seconds."""
        return cls(
            config=codec.config,
            plan=codec.checkpoint.chunk_plan or plan_for(codec.frame_size, rate, encoder_context(codec.config)),
            lead=codec.config.edge // (1 + lead_is_half),
            latent_scale=codec.latent_scale,
            model_id=codec.model_id,
            fingerprint=codec.fingerprint,
        )


def batched(parts: Iterable[tuple[int, Part | None]], coding: Coding, size: int) -> Iterator[Batch | Outcome]:
    """What `Readers.read` gives, as batches of up to `size` rows and an outcome per input."""
    waiting: dict[int, list[tuple[Row, Tensor]]] = defaultdict(list)
    chunking: Chunking | None = None
    found: Facts | Failure | None = None
    chunks = 0

    def take(number: int, pieces: Iterable[Any]) -> Iterator[Batch]:
        nonlocal chunks
        for chunk, samples, last in pieces:
            chunks += 1
            rows = waiting[samples.shape[-1]]
            for channel, one in enumerate(samples):
                rows.append((Row(input=number, chunk=chunk, channel=channel, last=last), one))
                if len(rows) == size:
                    yield _batch(rows)
            while sum(map(len, waiting.values())) >= _MOST_WAITING * size:
                yield _batch(max(waiting.values(), key=len))

    for number, part in parts:
        if isinstance(part, Facts):
            chunking, found, chunks = Chunking(coding.config, coding.plan, coding.lead), part, 0
        elif isinstance(part, Failure):
            found = part
        elif part is not None:
            assert chunking is not None  # facts come first
            yield from take(number, chunking.push(part))
        elif isinstance(found, Facts):
            assert chunking is not None
            yield from take(number, chunking.flush())
            yield Outcome(number, found, chunks)
        else:
            assert found is not None
            yield Outcome(number, found)
    for rows in waiting.values():
        if rows:
            yield _batch(rows)


def _batch(rows: list[tuple[Row, Tensor]]) -> Batch:
    batch = Batch([row for row, _ in rows], torch.stack([samples for _, samples in rows]).numpy())
    rows.clear()
    return batch


class Mapper:
    """Runs the encoder on batches; one that does not fit the device's memory is run in halves."""

    def __init__(self, codec: EncoderDecoder, *, features: bool) -> None:
        self._model, self._features = codec.gen, features
        # Another number of threads rounds otherwise; on processors, more workers take the place of more threads.
        if codec.device.type == "cpu":
            torch.set_num_threads(1)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Batch:
        """Samples -> latents, or features."""
        return replace(batch, values=self._run(torch.from_numpy(batch.values)).numpy())

    def _run(self, samples: Tensor) -> Tensor:
        try:
            segments = spectrogram.segment(samples.to(self._model.device), self._model.config.hop_length)
            encode = self._model.encode_features if self._features else self._model.compiled.encode
            return encode(segments).float().cpu()
        except (torch.OutOfMemoryError, MemoryError):
            if len(samples) == 1:
                raise
        half = len(samples) // 2
        if self._model.device.type == "cuda":
            torch.cuda.empty_cache()
        return torch.cat([self._run(samples[:half]), self._run(samples[half:])])


@dataclass
class _Signal:
    outcome: Outcome | None = None
    parts: dict[tuple[int, int], tuple[Tensor, bool]] = field(default_factory=dict)


class Assembly:
    """Batches of latents and outcomes, in any order -> whole signals, in the order of the inputs."""

    def __init__(self, plan: ChunkPlan) -> None:
        self._plan, self._signals, self._next = plan, defaultdict[int, _Signal](_Signal), 0

    def push(self, event: Batch | Outcome) -> Iterator[tuple[int, Facts | Failure, Tensor | None]]:
        """(input, facts, values `[C, D, L]`), or (input, failure, None), of the inputs that are whole now."""
        if isinstance(event, Outcome):
            self._signals[event.input].outcome = event
        else:
            for row, values in zip(event.rows, event.values, strict=True):
                self._signals[row.input].parts[row.chunk, row.channel] = torch.from_numpy(values), row.last
        while (signal := self._signals.get(self._next)) and (outcome := signal.outcome):
            if isinstance(outcome.found, Failure):
                joined = None
            elif len(signal.parts) == outcome.chunks * outcome.found.channels:
                joined = self._joined(signal, outcome)
            else:
                break
            del self._signals[self._next]
            yield self._next, outcome.found, joined
            self._next += 1

    def _joined(self, signal: _Signal, outcome: Outcome) -> Tensor:
        assert isinstance(outcome.found, Facts)
        fading, final = Fading(self._plan), []
        for number in range(outcome.chunks):
            rows = [signal.parts[number, channel] for channel in range(outcome.found.channels)]
            final.append(fading.push(number, torch.stack([values for values, _ in rows]), last=rows[0][1]))
        return torch.cat(final, dim=-1)
