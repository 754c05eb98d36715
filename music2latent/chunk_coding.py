"""The networks over signals longer than a chunk, in two ways:

- several signals of one length, as in the official package, by default in its chunks: `encode_batch`, `decode_batch`;
- one signal of any length in constant memory: `Encoding` and `Decoding`, which blocks are pushed to.

Latents here are the networks' own, in (-1, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import spectrogram
from .autoencoder import Autoencoder
from .chunks import ChunkPlan, Cutter, Joiner, Padding
from .config import ModelConfig
from .errors import InputError
from .noise import keyed_noise
from .threads import Together

Noise = Callable[[tuple[int, ...]], Any]
"""From a shape to that much standard normal noise, as an array or tensor."""


# ------------------------------------------------------------------------------------------------ signals of one length


def official_chunks(num_latents: int, length: int) -> list[tuple[int, int]]:
    """[start, stop) of the official package's chunks of a length over so many latents.

    Chunks follow each other without overlap. What the last one lacks comes from the beginning; a signal that is
    a multiple of the length, and more than one, gets one more chunk of nothing but that.
    """
    if num_latents <= length:
        return [(0, num_latents)]
    return [(index * length, (index + 1) * length) for index in range(num_latents // length + 1)]


def _batches(
    spans: Iterable[tuple[int, int]], num_items: int, size: int
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Chunks of one length and their (start, item) pairs, all items of the first chunk first, `size` at a time."""
    for count, group in groupby(spans, key=lambda span: span[1] - span[0]):
        pairs = [(start, item) for start, _ in group for item in range(num_items)]
        for first in range(0, len(pairs), size):
            yield count, pairs[first : first + size]


def encode_batch(
    model: Autoencoder, samples: Tensor, plan: ChunkPlan, batch_size: int, *, extract_features: bool = False
) -> Tensor:
    """samples `[N, n]` -> latents `[N, D, L]` (or features), L = (n - edge) // frame_size, in the official chunks."""
    config = model.config
    per_latent = config.columns_per_latent
    num_latents = (samples.shape[-1] - config.edge) // config.frame_size
    segments = spectrogram.segment(samples, config.hop_length)  # [N, T, n_fft], a view
    spans = official_chunks(num_latents, plan.length)
    results = []
    for count, batch in _batches(spans, len(samples), batch_size):
        picks = [
            segments[item, torch.arange(start * per_latent, (start + count) * per_latent) % (num_latents * per_latent)]
            for start, item in batch
        ]
        if extract_features:
            results.append(model.encode_features(torch.stack(picks)))
        else:
            results.append(_for_length(model, count, plan).encode(torch.stack(picks)))
    joined = torch.cat(results).unflatten(0, (len(spans), len(samples)))  # [chunks, N, D, length]
    return joined.permute(1, 2, 0, 3).flatten(2)[..., :num_latents]


def decode_batch(
    model: Autoencoder,
    latents: Tensor,
    plan: ChunkPlan,
    batch_size: int,
    *,
    num_steps: int,
    seed: int,
    noise: Noise | None = None,
) -> Tensor:
    """latents `[N, D, L]` -> audio `[N, L * frame_size + edge]` on the CPU, clamped to [-1, 1].

    A plan without overlap stands for the official chunks. The segments of all chunks are added up in one signal.
    """
    config = model.config
    num_latents = latents.shape[-1]
    spans = list(plan.spans(num_latents)) if plan.overlap else official_chunks(num_latents, plan.length)
    audio = torch.zeros(len(latents), num_latents * config.frame_size + config.edge)
    for count, batch in _batches(spans, len(latents), batch_size):
        picks = [latents[item][:, torch.arange(start, start + count) % num_latents] for start, item in batch]
        starts = [start for start, _ in batch]
        specs = decode_chunks(model, torch.stack(picks), starts, plan, num_steps=num_steps, seed=seed, noise=noise)
        for (start, item), spec in zip(batch, specs, strict=True):
            ends = {"first": start == 0, "last": start == spans[-1][0]}
            weights = plan.weights(count, **ends, per_latent=config.columns_per_latent)
            kept = (num_latents - start) * config.columns_per_latent
            if kept:  # the last chunk may be nothing but padding
                segments = spectrogram.synthesise(spec[None, ..., :kept])
                segments = segments * weights[:kept, None].to(segments.device)
                piece = spectrogram.overlap_add(segments)[0].cpu()
                place = start * config.frame_size
                audio[item, place : place + len(piece)] += piece
    return audio.clamp(-1, 1)


def decode_chunks(
    model: Autoencoder,
    latents: Tensor,
    starts: list[int],
    plan: ChunkPlan,
    *,
    num_steps: int,
    seed: int,
    noise: Noise | None = None,
) -> Tensor:
    """One batch of chunks `[B, D, L]` that start at these latents of their signals -> spectrogram `[B, 2, F, T]`.

    Noise is keyed by the seed and the position, or drawn from `noise`, once per step.
    """
    count, config = latents.shape[-1], model.config
    shape = (len(latents), 2, config.bins, count * config.columns_per_latent)

    def draw(step: int) -> Tensor:
        if noise is not None:
            drawn = torch.as_tensor(noise(shape))
            if drawn.shape != shape:
                raise InputError(f"noise of shape {list(drawn.shape)}; asked for {list(shape)}")
            return drawn.to(model.device, torch.float32)
        if step == num_steps:  # multiplied by zero; drawn only because a caller's own stream counts it
            return torch.zeros((), device=model.device)
        keyed = {start: keyed_noise(seed, step, start, start + count, config) for start in set(starts)}
        return torch.stack([keyed[start] for start in starts]).to(model.device)

    decoded = _for_length(model, count, plan).decode(latents, draw, num_steps)
    if not bool(torch.isfinite(decoded).all()):
        raise InputError(
            "decoding gave NaN or infinite values; use dtype='float32', and if that does not help, the model is damaged"
        )
    return decoded


def _for_length(model: Autoencoder, count: int, plan: ChunkPlan) -> Autoencoder:
    """The compiled model for chunks of the plan's full length; every other length would be compiled anew."""
    return model.compiled if count == plan.length else model


# ------------------------------------------------------------------------------------------------ overlapping chunks


class Runner:
    """Runs a model on chunks of one channel: one by one, or up to `batch_size` of several threads together
    (`threads.Together`)."""

    def __init__(self, model: Autoencoder, batch_size: int = 1, patience: float = 0.02) -> None:
        self.model, self._batch_size, self._patience = model, batch_size, patience
        self._encode = Together(self._encode_all, batch_size, patience)
        self._decode = Together(self._decode_all, batch_size, patience)

    def __reduce__(self) -> Any:
        return Runner, (self.model, self._batch_size, self._patience)  # locks stay in their process

    @torch.no_grad()
    def encode(self, samples: Tensor, plan: ChunkPlan, *, features: bool = False) -> Tensor:
        """A chunk's samples `[n]` -> latents `[D, l]` on the CPU; with features, these below them."""
        segments = spectrogram.segment(samples.to(self.model.device), self.model.config.hop_length)
        return self._encode((len(segments), plan, features), segments)

    def _encode_all(self, key: Any, items: list[Tensor]) -> Tensor:
        num_columns, plan, features = key
        if features:
            return self.model.encode_with_features(torch.stack(items)).cpu()
        count = num_columns // self.model.config.columns_per_latent
        return _for_length(self.model, count, plan).encode(torch.stack(items)).cpu()

    @torch.no_grad()
    def decode(self, latents: Tensor, start: int, plan: ChunkPlan, num_steps: int, seed: int) -> Tensor:
        """A chunk `[D, l]` that starts at this latent -> its segments `[T, n_fft]`, ready to be added up."""
        return self._decode((latents.shape[-1], plan, num_steps, seed), (latents, start))

    def _decode_all(self, key: Any, items: list[tuple[Tensor, int]]) -> Tensor:
        _, plan, num_steps, seed = key
        latents = torch.stack([latents for latents, _ in items]).to(self.model.device)
        starts = [start for _, start in items]
        return spectrogram.synthesise(decode_chunks(self.model, latents, starts, plan, num_steps=num_steps, seed=seed))


class Chunk(NamedTuple):
    """A piece of a signal as the encoder sees it."""

    number: int
    samples: Tensor
    """`[C, n]`"""
    last: bool


class Chunking:
    """A signal pushed in blocks `[C, n]` -> its chunks, mirrored at both ends, as soon as they are full.

    `lead` samples are mirrored before the signal, by default `config.edge` (see `BatchCoding.lead`).
    """

    def __init__(self, config: ModelConfig, plan: ChunkPlan, lead: int | None = None) -> None:
        self._padding = Padding(config, lead)
        self._cutter = Cutter(plan.length * config.frame_size + config.edge, plan.step * config.frame_size)

    def push(self, block: np.ndarray) -> Iterator[Chunk]:
        """Chunks that no later sample can change."""
        return self._cut(self._padding.push(torch.from_numpy(block)))

    def flush(self) -> Iterator[Chunk]:
        """The rest, at the end of the signal."""
        yield from self._cut(self._padding.flush())
        number, samples = self._cutter.flush()
        yield Chunk(number, samples, True)

    def _cut(self, samples: Tensor) -> Iterator[Chunk]:
        return (Chunk(number, piece, False) for number, piece in self._cutter.push(samples))


class Fading:
    """The chunks' latents `[C, D, l]`, pushed in order -> the signal's, cross-faded, as soon as they are final."""

    def __init__(self, plan: ChunkPlan) -> None:
        self._plan, self._joiner = plan, Joiner()

    def push(self, number: int, values: Tensor, *, last: bool) -> Tensor:
        """Latents that are final after this chunk."""
        start, count = number * self._plan.step, values.shape[-1]
        weights = self._plan.weights(count, first=start == 0, last=last)
        return self._joiner.push(values * weights, start, start + (count if last else self._plan.step))


class Encoding:
    """A signal pushed in blocks `[C, n]` -> its latents in order, `[C, D, l]` on the CPU, as soon as they are final.

    With features, these follow the latents' D channels. Channels run one by one, so that memory does not grow with
    them.
    """

    def __init__(self, runner: Runner, plan: ChunkPlan, *, features: bool = False) -> None:
        config = runner.model.config
        self._runner, self._plan, self._features = runner, plan, features
        self._dim = config.latent_dim + config.feature_dim * features
        self._chunking, self._fading = Chunking(config, plan), Fading(plan)

    def push(self, block: np.ndarray) -> Tensor:
        """Latents that no later sample can change."""
        return self._code(self._chunking.push(block), len(block))

    def flush(self) -> Tensor:
        """The rest, at the end of the signal."""
        return self._code(self._chunking.flush())

    def _code(self, chunks: Iterable[Chunk], channels: int | None = None) -> Tensor:
        final = [torch.zeros(channels, self._dim, 0)] if channels else []
        for number, samples, last in chunks:
            rows = [self._runner.encode(channel, self._plan, features=self._features) for channel in samples]
            final.append(self._fading.push(number, torch.stack(rows), last=last))
        return torch.cat(final, dim=-1)


class Decoding:
    """Latents pushed in order, `[C, D, l]` -> audio `[C, n]`, from the signal's first sample to beyond its last.

    What follows the last sample is the mirrored end that `chunks.Padding` put there, which a resampler needs.
    """

    def __init__(self, runner: Runner, plan: ChunkPlan, *, num_steps: int, seed: int) -> None:
        self._runner, self._plan, self._num_steps, self._seed = runner, plan, num_steps, seed
        self._cutter, self._joiner = Cutter(plan.length, plan.step), Joiner()
        self._lead = runner.model.config.edge  # mirrored samples before the first

    def push(self, latents: Tensor) -> np.ndarray:
        """Samples that no later latent can change."""
        return self._code(self._cutter.push(latents), len(latents))

    def flush(self) -> np.ndarray:
        """The rest, after the last latent."""
        number, chunk = self._cutter.flush()
        return self._code([(number, chunk)], len(chunk), last=True)

    def _code(self, chunks: Iterable[tuple[int, Tensor]], channels: int, *, last: bool = False) -> np.ndarray:
        """Numbered chunks of latents `[C, D, l]` -> the samples that are final after them."""
        config, final = self._runner.model.config, [torch.zeros(channels, 0)]
        for number, chunk in chunks:
            start, count = number * self._plan.step, chunk.shape[-1]
            weights = self._plan.weights(count, first=start == 0, last=last, per_latent=config.columns_per_latent)
            pieces = []
            for channel in chunk:
                segments = self._runner.decode(channel, start, self._plan, self._num_steps, self._seed)
                pieces.append(spectrogram.overlap_add(segments[None] * weights.to(segments.device)[:, None]).cpu())
            until = (start + self._plan.step) * config.frame_size
            if last:
                until = (start + count) * config.frame_size + config.edge
            block = self._joiner.push(torch.cat(pieces), start * config.frame_size, until)
            lead, self._lead = self._lead, 0
            final.append(block[:, lead:].clamp(-1, 1))
        return torch.cat(final, dim=-1).numpy()
