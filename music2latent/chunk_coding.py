"""A model run over long signals, window by window, in two ways:

- several signals of one length, as the published package has them, by default in its windows: `encode_batch`,
  `decode_batch`;
- one signal of any length in constant memory: `Encoding` and `Decoding`, which are pushed to, and `encode_blocks` and
  `decode_blocks` around them.

Latents here are the networks' own, in (-1, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import spectrogram
from .autoencoder import Autoencoder
from .chunks import Cutter, Joiner, Padding, WindowPlan
from .errors import InputError
from .noise import keyed_noise
from .threads import Together

Noise = Callable[[tuple[int, ...]], Any]
"""From a shape to that much standard normal noise, as an array or tensor."""


# ------------------------------------------------------------------------------------------------ signals of one length


def published_windows(length: int, window: int) -> list[tuple[int, int]]:
    """[start, stop) of the published package's windows over `length` latents.

    Windows follow each other without overlap. What the last one lacks comes from the beginning; a length that is
    a multiple of the window, and more than one, gets one more window of nothing but that.
    """
    if length <= window:
        return [(0, length)]
    return [(index * window, (index + 1) * window) for index in range(length // window + 1)]


def _batches(
    spans: Iterable[tuple[int, int]], num_items: int, size: int
) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Windows of one length and their (start, item) pairs, all items of the first window first, `size` at a time."""
    for length, group in groupby(spans, key=lambda span: span[1] - span[0]):
        pairs = [(start, item) for start, _ in group for item in range(num_items)]
        for first in range(0, len(pairs), size):
            yield length, pairs[first : first + size]


def encode_batch(
    model: Autoencoder, samples: Tensor, window: int, batch_size: int, *, extract_features: bool = False
) -> Tensor:
    """samples `[N, n]` -> latents `[N, D, L]` (or features), L = (n - edge) // frame_size."""
    config = model.config
    per_latent = config.frames_per_latent
    length = (samples.shape[-1] - config.edge) // config.frame_size
    frames = spectrogram.frame(samples, config.hop_length)  # [N, T, n_fft], a view
    run = model.encode_features if extract_features else partial(model.encode, fixed=window <= length)
    spans = published_windows(length, window)
    results = []
    for count, batch in _batches(spans, len(samples), batch_size):
        picks = [
            frames[item, torch.arange(start * per_latent, (start + count) * per_latent) % (length * per_latent)]
            for start, item in batch
        ]
        results.append(run(torch.stack(picks)))
    joined = torch.cat(results).unflatten(0, (len(spans), len(samples)))  # [windows, N, D, window]
    return joined.permute(1, 2, 0, 3).flatten(2)[..., :length]


def decode_batch(
    model: Autoencoder,
    latents: Tensor,
    plan: WindowPlan,
    batch_size: int,
    *,
    num_steps: int,
    seed: int,
    noise: Noise | None,
) -> Tensor:
    """latents `[N, D, L]` -> audio `[N, L * frame_size + edge]` on the CPU, clamped to [-1, 1].

    A plan without overlap stands for the published windows. The windows' spectrograms are joined before the inverse
    transform: their frames are added up in one signal.
    """
    config = model.config
    length = latents.shape[-1]
    spans = list(plan.spans(length)) if plan.overlap else published_windows(length, plan.window)
    audio = torch.zeros(len(latents), length * config.frame_size + config.edge)
    for count, batch in _batches(spans, len(latents), batch_size):
        picks = [latents[item][:, torch.arange(start, start + count) % length] for start, item in batch]
        starts, fixed = [start for start, _ in batch], count == plan.window
        specs = decode_windows(model, torch.stack(picks), starts, num_steps, seed, noise, fixed=fixed)
        for (start, item), spec in zip(batch, specs, strict=True):
            ends = {"first": start == 0, "last": start == spans[-1][0]}
            weights = plan.weights(count, **ends, per_latent=config.frames_per_latent)
            kept = (length - start) * config.frames_per_latent
            if kept:  # the last window may be nothing but padding
                frames = spectrogram.synthesise(spec[None, ..., :kept])
                frames = frames * weights[:kept, None].to(frames.device)
                piece = spectrogram.overlap_add(frames)[0].cpu()
                place = start * config.frame_size
                audio[item, place : place + len(piece)] += piece
    return audio.clamp(-1, 1)


def decode_windows(
    model: Autoencoder,
    latents: Tensor,
    starts: list[int],
    num_steps: int,
    seed: int,
    noise: Noise | None = None,
    *,
    fixed: bool,
) -> Tensor:
    """One batch of windows `[B, D, L]` that start at these latents of their signals -> spectrogram `[B, 2, F, T]`.

    Noise is keyed by the seed and the position, or drawn from `noise`, once per step. `fixed`: these windows have the
    plan's full length, for which the networks may have been compiled.
    """
    count, config = latents.shape[-1], model.config
    shape = (len(latents), 2, config.bins, count * config.frames_per_latent)

    def draw(step: int) -> Tensor:
        if noise is not None:
            drawn = torch.as_tensor(noise(shape))
            if drawn.shape != shape:
                raise InputError(f"noise of shape {list(drawn.shape)}; asked for {list(shape)}")
            return drawn.to(model.device, torch.float32)
        if step == num_steps:  # multiplied by zero; only a caller's own stream needs it drawn
            return torch.zeros((), device=model.device)
        keyed = {start: keyed_noise(seed, step, start, start + count, config) for start in set(starts)}
        return torch.stack([keyed[start] for start in starts]).to(model.device)

    return model.decode(latents, draw, num_steps, fixed=fixed)


# ------------------------------------------------------------------------------------------------ overlapping windows


class Runner:
    """A model's windows of one channel: run one by one, or up to `batch_size` of several threads together
    (`threads.Together`)."""

    def __init__(self, model: Autoencoder, batch_size: int = 1, patience: float = 0.02) -> None:
        self.model = model
        self._encode = Together(self._encode_all, batch_size, patience)
        self._decode = Together(self._decode_all, batch_size, patience)

    @torch.no_grad()
    def encode(self, samples: Tensor, plan: WindowPlan) -> Tensor:
        """A window's samples `[n]` -> latents `[D, l]` on the CPU."""
        frames = spectrogram.frame(samples.to(self.model.device), self.model.config.hop_length)
        return self._encode((len(frames), plan.window), frames)

    def _encode_all(self, key: Any, items: list[Tensor]) -> Tensor:
        num_frames, window = key
        fixed = num_frames == window * self.model.config.frames_per_latent
        return self.model.encode(torch.stack(items), fixed=fixed).cpu()

    @torch.no_grad()
    def decode(self, latents: Tensor, start: int, plan: WindowPlan, num_steps: int, seed: int) -> Tensor:
        """A window `[D, l]` that starts at this latent -> its frames `[T, n_fft]`, ready to be added up."""
        return self._decode((latents.shape[-1], plan.window, num_steps, seed), (latents, start))

    def _decode_all(self, key: Any, items: list[tuple[Tensor, int]]) -> Tensor:
        count, window, num_steps, seed = key
        latents = torch.stack([latents for latents, _ in items]).to(self.model.device)
        starts = [start for _, start in items]
        spec = decode_windows(self.model, latents, starts, num_steps, seed, fixed=count == window)
        return spectrogram.synthesise(spec)


class Encoding:
    """A signal pushed in blocks `[C, n]` -> its latents in order, `[C, D, l]` on the CPU, as soon as they are certain.

    Channels run one by one: memory does not grow with them.
    """

    def __init__(self, runner: Runner, plan: WindowPlan) -> None:
        config = runner.model.config
        self._runner, self._plan = runner, plan
        self._padding, self._joiner = Padding(config), Joiner()
        self._cutter = Cutter(plan.window * config.frame_size + config.edge, plan.step * config.frame_size)

    def push(self, block: np.ndarray) -> Tensor:
        """Latents that no later sample can change."""
        return self._full_windows(self._padding.push(torch.from_numpy(block)))

    def flush(self) -> Tensor:
        """The rest, at the end of the signal."""
        done = self._full_windows(self._padding.flush())
        return torch.cat([done, self._window(*self._cutter.flush(), last=True)], dim=-1)

    def _full_windows(self, padded: Tensor) -> Tensor:
        done = [self._window(number, window, last=False) for number, window in self._cutter.push(padded)]
        return torch.cat([torch.zeros(len(padded), self._runner.model.latent_dim, 0), *done], dim=-1)

    def _window(self, number: int, window: Tensor, *, last: bool) -> Tensor:
        start = number * self._plan.step
        values = torch.stack([self._runner.encode(channel, self._plan) for channel in window])
        count = values.shape[-1]
        weights = self._plan.weights(count, first=start == 0, last=last)
        return self._joiner.push(values * weights, start, start + (count if last else self._plan.step))


class Decoding:
    """Latents pushed in order, `[C, D, l]` -> audio `[C, n]`, from the signal's first sample to beyond its last.

    What follows the last sample is the mirrored end that `windows.Padding` put there: a resampler wants to see it.
    """

    def __init__(self, runner: Runner, plan: WindowPlan, *, num_steps: int, seed: int) -> None:
        self._runner, self._plan, self._num_steps, self._seed = runner, plan, num_steps, seed
        self._cutter, self._joiner = Cutter(plan.window, plan.step), Joiner()
        self._lead = runner.model.config.edge  # mirrored samples before the first

    def push(self, latents: Tensor) -> np.ndarray:
        """Samples that no later latent can change."""
        done = [self._window(number, window, last=False) for number, window in self._cutter.push(latents)]
        return torch.cat([torch.zeros(len(latents), 0), *done], dim=-1).numpy()

    def flush(self) -> np.ndarray:
        """The rest, after the last latent."""
        return self._window(*self._cutter.flush(), last=True).numpy()

    def _window(self, number: int, latents: Tensor, *, last: bool) -> Tensor:
        config, start, count = self._runner.model.config, number * self._plan.step, latents.shape[-1]
        weights = self._plan.weights(count, first=start == 0, last=last, per_latent=config.frames_per_latent)
        pieces = []
        for channel in latents:
            frames = self._runner.decode(channel, start, self._plan, self._num_steps, self._seed)
            pieces.append(spectrogram.overlap_add(frames[None] * weights.to(frames.device)[:, None]).cpu())
        until = (start + self._plan.step) * config.frame_size
        if last:
            until = (start + count) * config.frame_size + config.edge
        block = self._joiner.push(torch.cat(pieces), start * config.frame_size, until)
        lead, self._lead = self._lead, 0
        return block[:, lead:].clamp(-1, 1)


def encode_blocks(runner: Runner, blocks: Iterable[np.ndarray], plan: WindowPlan) -> Iterator[Tensor]:
    """`Encoding` of a whole signal in blocks."""
    stream = Encoding(runner, plan)
    for block in blocks:
        yield stream.push(block)
    yield stream.flush()


def decode_blocks(
    runner: Runner, latents: Tensor, plan: WindowPlan, *, num_steps: int, seed: int
) -> Iterator[np.ndarray]:
    """`Decoding` of whole latents `[C, D, L]`, a window's worth at a time."""
    stream = Decoding(runner, plan, num_steps=num_steps, seed=seed)
    for part in latents.split(plan.step, dim=-1):
        yield stream.push(part)
    yield stream.flush()
