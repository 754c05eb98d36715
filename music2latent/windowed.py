"""A model run over long signals, window by window, in two ways:

- hard windows, as the published package has them: `hard_windows`, `encode_hard`, `decode_hard`;
- windows that overlap and are cross-faded, in constant memory: `Encoding` and `Decoding`, which are pushed to, and
  `encode_blocks` and `decode_blocks` around them.

Latents here are the networks' own, in (-1, 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import spectrogram
from .autoencoder import Autoencoder
from .errors import InputError
from .noise import keyed_noise
from .windows import Cutter, Joiner, Padding, WindowPlan

Noise = Callable[[tuple[int, ...]], Any]
"""From a shape to that much standard normal noise, as an array or tensor."""


# ------------------------------------------------------------------------------------------------ hard windows


def hard_windows(length: int, window: int) -> tuple[int, list[int]]:
    """The published package's windows over `length` latents: their size, and where each starts.

    Windows follow each other without overlap. What the last one lacks comes from the beginning; a length that is
    a multiple of the window, and more than one, gets one more window of nothing but that.
    """
    if length <= window:
        return length, [0]
    return window, [index * window for index in range(length // window + 1)]


def _batches(starts: list[int], num_items: int, size: int) -> Iterator[list[tuple[int, int]]]:
    """(start, item) pairs, all items of the first window first, `size` at a time."""
    pairs = [(start, item) for start in starts for item in range(num_items)]
    for first in range(0, len(pairs), size):
        yield pairs[first : first + size]


def encode_hard(
    model: Autoencoder, samples: Tensor, window: int, batch_size: int, *, extract_features: bool = False
) -> Tensor:
    """samples `[N, n]` -> latents `[N, D, L]` (or features), L = (n - edge) // frame_size."""
    config = model.config
    per_latent = config.frames_per_latent
    length = (samples.shape[-1] - config.edge) // config.frame_size
    window, starts = hard_windows(length, window)
    frames = spectrogram.frame(samples, config.hop_length)  # [N, T, n_fft], a view
    run = model.encode_features if extract_features else model.encode
    results = []
    for batch in _batches(starts, len(samples), batch_size):
        picks = [
            frames[item, torch.arange(start * per_latent, (start + window) * per_latent) % (length * per_latent)]
            for start, item in batch
        ]
        results.append(run(torch.stack(picks)))
    joined = torch.cat(results).unflatten(0, (len(starts), len(samples)))  # [windows, N, D, window]
    return joined.permute(1, 2, 0, 3).flatten(2)[..., :length]


def decode_hard(
    model: Autoencoder, latents: Tensor, window: int, batch_size: int, *, num_steps: int, seed: int, noise: Noise | None
) -> Tensor:
    """latents `[N, D, L]` -> audio `[N, L * frame_size + edge]` on the CPU, clamped to [-1, 1].

    The windows' spectrograms are joined before the inverse transform: their frames are added up in one signal.
    """
    config = model.config
    length = latents.shape[-1]
    window, starts = hard_windows(length, window)
    audio = torch.zeros(len(latents), length * config.frame_size + config.edge)
    for batch in _batches(starts, len(latents), batch_size):
        picks = [latents[item][:, torch.arange(start, start + window) % length] for start, item in batch]
        specs = decode_windows(model, torch.stack(picks), [start for start, _ in batch], num_steps, seed, noise)
        for (start, item), spec in zip(batch, specs, strict=True):
            kept = spec[None, ..., : (length - start) * config.frames_per_latent]
            if kept.shape[-1]:  # the last window may be nothing but padding
                piece = spectrogram.overlap_add(spectrogram.synthesise(kept))[0].cpu()
                place = start * config.frame_size
                audio[item, place : place + len(piece)] += piece
    return audio.clamp(-1, 1)


def decode_windows(
    model: Autoencoder, latents: Tensor, starts: list[int], num_steps: int, seed: int, noise: Noise | None = None
) -> Tensor:
    """One batch of windows `[B, D, L]` that start at these latents of their signals -> spectrogram `[B, 2, F, T]`.

    Noise is keyed by the seed and the position, or drawn from `noise`, once per step.
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

    return model.decode(latents, draw, num_steps)


# ------------------------------------------------------------------------------------------------ overlapping windows


class Encoding:
    """A signal pushed in blocks `[C, n]` -> its latents in order, `[C, D, l]` on the CPU, as soon as they are certain.

    Channels run one by one: memory does not grow with them.
    """

    def __init__(self, model: Autoencoder, plan: WindowPlan) -> None:
        config = model.config
        self._model, self._plan = model, plan
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
        return torch.cat([torch.zeros(len(padded), self._model.latent_dim, 0), *done], dim=-1)

    @torch.no_grad()
    def _window(self, number: int, window: Tensor, *, last: bool) -> Tensor:
        start = number * self._plan.step
        frames = spectrogram.frame(window.to(self._model.device), self._model.config.hop_length)
        values = torch.cat([self._model.encode(channel[None]) for channel in frames]).cpu()
        count = values.shape[-1]
        weights = self._plan.weights(count, first=start == 0, last=last)
        return self._joiner.push(values * weights, start, start + (count if last else self._plan.step))


class Decoding:
    """Latents pushed in order, `[C, D, l]` -> audio `[C, n]`, from the signal's first sample to beyond its last.

    What follows the last sample is the mirrored end that `windows.Padding` put there: a resampler wants to see it.
    """

    def __init__(self, model: Autoencoder, plan: WindowPlan, *, num_steps: int, seed: int) -> None:
        self._model, self._plan, self._num_steps, self._seed = model, plan, num_steps, seed
        self._cutter, self._joiner = Cutter(plan.window, plan.step), Joiner()
        self._lead = model.config.edge  # mirrored samples before the first

    def push(self, latents: Tensor) -> np.ndarray:
        """Samples that no later latent can change."""
        done = [self._window(number, window, last=False) for number, window in self._cutter.push(latents)]
        return torch.cat([torch.zeros(len(latents), 0), *done], dim=-1).numpy()

    def flush(self) -> np.ndarray:
        """The rest, after the last latent."""
        return self._window(*self._cutter.flush(), last=True).numpy()

    @torch.no_grad()
    def _window(self, number: int, latents: Tensor, *, last: bool) -> Tensor:
        config, start, count = self._model.config, number * self._plan.step, latents.shape[-1]
        weights = self._plan.weights(count, first=start == 0, last=last, per_latent=config.frames_per_latent)
        pieces = []
        for channel in latents:
            spec = decode_windows(
                self._model, channel[None].to(self._model.device), [start], self._num_steps, self._seed
            )
            frames = spectrogram.synthesise(spec) * weights.to(spec.device)[None, :, None]
            pieces.append(spectrogram.overlap_add(frames).cpu())
        until = (start + self._plan.step) * config.frame_size
        if last:
            until = (start + count) * config.frame_size + config.edge
        block = self._joiner.push(torch.cat(pieces), start * config.frame_size, until)
        lead, self._lead = self._lead, 0
        return block[:, lead:].clamp(-1, 1)


def encode_blocks(model: Autoencoder, blocks: Iterable[np.ndarray], plan: WindowPlan) -> Iterator[Tensor]:
    """`Encoding` of a whole signal in blocks."""
    stream = Encoding(model, plan)
    for block in blocks:
        yield stream.push(block)
    yield stream.flush()


def decode_blocks(
    model: Autoencoder, latents: Tensor, plan: WindowPlan, *, num_steps: int, seed: int
) -> Iterator[np.ndarray]:
    """`Decoding` of whole latents `[C, D, L]`, a window's worth at a time."""
    stream = Decoding(model, plan, num_steps=num_steps, seed=seed)
    for part in latents.split(plan.step, dim=-1):
        yield stream.push(part)
    yield stream.flush()
