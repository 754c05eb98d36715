"""Long signals in overlapping windows: which latents each window covers, and how neighbours are cross-faded.

Positions are latents. Window k covers [k * step, k * step + window) and the last one ends with the signal, so the plan
of a stream is known before its length is. Between two windows lies an overlap that has three parts:

    previous window  ------------------------|margin|
    next window              |margin|--------------------------
                                    |  fade  |

In the margin next to its edge a window does not count, for there its network saw padding instead of sound;
over the fade it hands over to the other one. The two weights add up to one everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .config import ModelConfig
from .errors import InputError


@dataclass(frozen=True)
class WindowPlan:
    """Windows of `window` latents, each sharing `overlap` latents with the next."""

    window: int
    overlap: int

    def __post_init__(self) -> None:
        if self.overlap < 0 or self.window < max(1, 2 * self.overlap):
            raise InputError(
                f"windows of {self.window} latents with an overlap of {self.overlap}: "
                f"a window must hold at least two overlaps, {max(1, 2 * self.overlap)} latents"
            )

    @property
    def step(self) -> int:
        """Latents from one window's start to the next's."""
        return self.window - self.overlap

    def spans(self, length: int) -> Iterator[tuple[int, int]]:
        """[start, stop) of every window over a signal of `length` latents."""
        start = 0
        while start + self.window < length:
            yield start, start + self.window
            start += self.step
        yield start, length

    def weights(self, count: int, *, first: bool, last: bool, per_latent: int = 1) -> Tensor:
        """Weights `[count * per_latent]` of one window of `count` latents, with `per_latent` values for each latent."""
        weights = torch.ones(count * per_latent)
        # Centres of the values within an overlap, measured in overlaps; the fade is its middle quarter.
        centres = (torch.arange(self.overlap * per_latent) + 0.5) / max(self.overlap * per_latent, 1)
        rise = ((centres - 0.375) / 0.25).clamp(0, 1)
        if not first:
            weights[: len(rise)] = rise
        if not last:
            weights[len(weights) - len(rise) :] = 1 - rise
        return weights


def encoder_context(config: ModelConfig) -> int:
    """Latents to either side that a latent's value depends on through the convolutions of the encoder.

    (GroupNorm's statistics reach further, over the whole window: they move values by a few percent.)
    """
    frames = 1  # conv_inp
    stride = 1
    for level, layers in enumerate(config.layers_list_encoder):
        frames += 2 * stride * layers  # two kernels of three per block
        if level < len(config.freq_downsample_list) and not config.freq_downsample_list[level]:
            frames += stride
            stride *= 2
    frames += 2 * stride * config.num_bottleneck_layers
    return -(-frames // config.frames_per_latent)


def decoder_context(config: ModelConfig) -> int:
    """The same for decoding in one step: upsampler, then the denoiser's way down and up."""
    stride = config.frames_per_latent
    frames = 2 * stride * config.num_bottleneck_layers + 1 + 1  # the bottleneck, conv_inp and conv_out
    for level in reversed(range(len(config.layers_list))):
        frames += 2 * stride * (config.layers_list_encoder[level] + 2 * config.layers_list[level])
        if level and not config.freq_downsample_list[level - 1]:
            stride //= 2
            frames += 3 * stride  # the upsampler's Up, the denoiser's Down and Up
    return -(-frames // config.frames_per_latent)


def latents_needed(num_samples: int, config: ModelConfig) -> int:
    """Latents that cover `num_samples` samples so that each of them lies in four spectrogram frames."""
    return -(-(num_samples + config.edge) // config.frame_size)


def padded(blocks: Iterable[np.ndarray], config: ModelConfig) -> Iterator[np.ndarray]:
    """Extend a signal, given in blocks `[C, n]`, at both ends to frame_size * L + edge samples, L = latents_needed.

    `edge` samples before and at least as many after, mirrored, so that nothing of the signal itself fades.
    """
    head, tail_size = config.edge, config.edge + config.frame_size
    pending = None  # the signal's start, until there is enough of it to mirror; from then on its end
    total, started = 0, False
    for block in blocks:
        total += block.shape[-1]
        pending = block if pending is None else np.concatenate([pending, block], axis=-1)
        if not started and pending.shape[-1] >= tail_size:
            yield np.pad(pending, ((0, 0), (head, 0)), "symmetric")[:, :head]
            started = True
        if started and pending.shape[-1] > tail_size:
            yield pending[:, :-tail_size]
            pending = pending[:, -tail_size:]
    if pending is None or not total:
        raise InputError("audio without samples; at least one is needed")
    tail = latents_needed(total, config) * config.frame_size - total
    yield np.pad(pending, ((0, 0), (0 if started else head, tail)), "symmetric")


def cut(blocks: Iterable[np.ndarray], plan: WindowPlan, config: ModelConfig) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Cut a padded signal, given in blocks `[C, n]`, into the plan's windows: (start in latents, audio, is last)."""
    size, step = plan.window * config.frame_size + config.edge, plan.step * config.frame_size
    start, buffer = 0, None
    for block in blocks:
        buffer = block if buffer is None else np.concatenate([buffer, block], axis=-1)
        while buffer.shape[-1] > size:
            yield start, buffer[:, :size], False
            start, buffer = start + plan.step, buffer[:, step:]
    if buffer is not None:
        yield start, buffer, True


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
