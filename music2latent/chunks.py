"""Long signals in overlapping chunks: which latents each chunk covers, and how neighbours are cross-faded.

Positions are latents. Chunk k covers [k * step, k * step + length) and the last one ends with the signal, so the plan
of a stream is known before its length is. Between two chunks lies an overlap that has three parts:

    previous chunk  ------------------------|margin|
    next chunk              |margin|--------------------------
                                    |  fade  |

In the margin next to its end a chunk has no weight, because there its network saw padding instead of sound; over the
fade the weight moves from one to the other. The two weights add up to one everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from .config import ModelConfig
from .errors import InputError, whole_number

CHUNK_SECONDS = 10.0
"""Default length of chunks, for models without one of their own."""


@dataclass(frozen=True)
class ChunkPlan:
    """Chunks of `length` latents, each sharing `overlap` latents with the next."""

    length: int
    overlap: int

    def __post_init__(self) -> None:
        for name in ("length", "overlap"):
            value = whole_number(f"chunks: {name}", getattr(self, name), low=0, high=2**31 - 1)
            object.__setattr__(self, name, value)
        if self.length < max(1, 2 * self.overlap):
            raise InputError(
                f"chunks of {self.length} latents with an overlap of {self.overlap}: "
                f"a chunk must hold at least two overlaps, {max(1, 2 * self.overlap)} latents"
            )

    @property
    def step(self) -> int:
        """Latents from one chunk's start to the next's."""
        return self.length - self.overlap

    def spans(self, num_latents: int) -> Iterator[tuple[int, int]]:
        """[start, stop) of every chunk over a signal of so many latents."""
        start = 0
        while start + self.length < num_latents:
            yield start, start + self.length
            start += self.step
        yield start, num_latents

    def weights(self, count: int, *, first: bool, last: bool, per_latent: int = 1) -> Tensor:
        """Weights `[count * per_latent]` of one chunk of `count` latents, with `per_latent` values for each latent."""
        weights = torch.ones(count * per_latent)
        # Centres of the values within an overlap, measured in overlaps; the fade is its middle quarter.
        centres = (torch.arange(self.overlap * per_latent) + 0.5) / max(self.overlap * per_latent, 1)
        rise = ((centres - 0.375) / 0.25).clamp(0, 1)
        if not first:
            weights[: len(rise)] = rise
        if not last:
            weights[len(weights) - len(rise) :] = 1 - rise
        return weights


def plan_for(frame_size: int, rate: int, overlap: int, seconds: float | None = None) -> ChunkPlan:
    """Chunks of so many seconds, by default `CHUNK_SECONDS`.

    Raises:
        InputError: shorter than two overlaps.
    """
    seconds = CHUNK_SECONDS if seconds is None else seconds
    length = round(seconds * rate / frame_size) if np.isfinite(seconds) else 0
    if length < 2 * overlap:
        least = 2 * overlap * frame_size / rate
        raise InputError(f"chunk_seconds = {seconds:g}; this model needs {least:.2f} s or more")
    return ChunkPlan(length, overlap)


def encoder_context(config: ModelConfig) -> int:
    """Latents to either side that a latent's value depends on through the convolutions of the encoder.

    (GroupNorm's statistics reach further, over the whole chunk: they move values by a few percent.)
    """
    columns = 1  # conv_inp
    stride = 1
    for level, layers in enumerate(config.layers_list_encoder):
        columns += 2 * stride * layers  # two kernels of three per block
        if level < len(config.freq_downsample_list) and not config.freq_downsample_list[level]:
            columns += stride
            stride *= 2
    columns += 2 * stride * config.num_bottleneck_layers
    return -(-columns // config.columns_per_latent)


def decoder_context(config: ModelConfig) -> int:
    """The same for decoding in one step: upsampler, then the denoiser's way down and up."""
    stride = config.columns_per_latent
    columns = 2 * stride * config.num_bottleneck_layers + 1 + 1  # the bottleneck, conv_inp and conv_out
    for level in reversed(range(len(config.layers_list))):
        columns += 2 * stride * (config.layers_list_encoder[level] + 2 * config.layers_list[level])
        if level and not config.freq_downsample_list[level - 1]:
            stride //= 2
            columns += 3 * stride  # the upsampler's Up, the denoiser's Down and Up
    return -(-columns // config.columns_per_latent)


def decoder_overlap(config: ModelConfig) -> int:
    """Latents that neighbouring chunks of a decoder share: a third of its context.

    More costs time (all of the context, 31 latents of the official shape, would be a third of a chunk of 10 s) and
    changes nothing that can be measured: benchmarks/quality.md.
    """
    return -(-decoder_context(config) // 3)


class Frames(Protocol):
    """What knows the size of a frame and of the edges: a model's configuration, or a `Latents` record."""

    @property
    def frame_size(self) -> int: ...

    @property
    def edge(self) -> int: ...


def latents_needed(num_samples: int, frames: Frames) -> int:
    """Latents that cover `num_samples` samples so that each of them lies in four segments of the spectrogram."""
    return -(-(num_samples + frames.edge) // frames.frame_size)


class Padding:
    """Extends a signal, pushed in blocks `[C, n]`, at both ends to frame_size * L + edge samples, L = latents_needed.

    `lead` samples before, by default `edge`, and at least as many after, mirrored, so that nothing of the signal itself
    fades.
    """

    def __init__(self, config: ModelConfig, lead: int | None = None) -> None:
        self._config, self._lead = config, config.edge if lead is None else lead
        self._total, self._started = 0, False
        self._kept: Tensor | None = None  # all samples until the start is out, then those that the end mirrors

    def push(self, block: Tensor) -> Tensor:
        """Add samples; returns those that can follow the padded signal so far."""
        head, tail = self._lead, self._lead + self._config.frame_size
        self._total += block.shape[-1]
        self._kept = kept = block if self._kept is None else torch.cat([self._kept, block], dim=-1)
        if self._started:
            ready = block
        elif kept.shape[-1] >= head:
            ready, self._started = torch.cat([kept[..., :head].flip(-1), kept], dim=-1), True
        else:
            return block[..., :0]
        self._kept = kept[..., -tail:].clone()
        return ready

    def flush(self) -> Tensor:
        """The mirrored end.

        Raises:
            InputError: nothing was pushed.
        """
        if self._kept is None or not self._total:
            raise InputError("audio without samples; at least one is needed")
        inner = self._total + 2 * self._lead - self._config.edge
        after = (
            -(-inner // self._config.frame_size) * self._config.frame_size
            + self._config.edge
            - self._lead
            - self._total
        )
        before = 0 if self._started else self._lead
        mirrored = np.pad(self._kept.numpy(), ((0, 0), (before, after)), "symmetric")
        return torch.from_numpy(mirrored[..., self._kept.shape[-1] if self._started else 0 :])


class Cutter:
    """Cuts what is pushed, `[..., n]`, into pieces of `size` that begin every `step`; the last one is what is left."""

    def __init__(self, size: int, step: int) -> None:
        self._size, self._step = size, step
        self._count = 0
        self._buffer: Tensor | None = None

    def push(self, block: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Add values; (number, piece) of the pieces that are full, and surely not the last."""
        self._buffer = block if self._buffer is None else torch.cat([self._buffer, block], dim=-1)
        while self._buffer.shape[-1] > self._size:
            yield self._count, self._buffer[..., : self._size]
            self._count, self._buffer = self._count + 1, self._buffer[..., self._step :]

    def flush(self) -> tuple[int, Tensor]:
        """The last piece.

        Raises:
            InputError: nothing was pushed.
        """
        if self._buffer is None:
            raise InputError("nothing was pushed; at least one block is needed")
        return self._count, self._buffer


class Joiner:
    """Adds up overlapping weighted pieces `[..., n]` and hands out what no later piece can change."""

    def __init__(self) -> None:
        self._position = 0
        self._buffer: Tensor | None = None

    def push(self, piece: Tensor, start: int, until: int) -> Tensor:
        """Add a piece that begins at `start`; returns the finished values up to `until`, where the next begins."""
        offset = start - self._position
        if self._buffer is None:
            self._buffer = piece
        else:
            missing = offset + piece.shape[-1] - self._buffer.shape[-1]
            self._buffer = torch.nn.functional.pad(self._buffer, (0, missing))
            self._buffer[..., offset:] += piece
        count = until - self._position
        finished, self._buffer = self._buffer[..., :count], self._buffer[..., count:]
        self._position = until
        return finished
