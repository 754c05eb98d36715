"""Live: push samples, get latents; push latents, get samples. Any block size, any number of channels.

Both run the code of `compress` and `decompress` (`chunk_coding.Encoding` and `Decoding`), so a stream gives what those
give with the same chunks, sample for sample, and later input never changes earlier output. A stream
holds the state of one signal; the weights are the codec's, shared by all its streams.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from .arrays import as_float
from .chunk_coding import Decoding, Encoding
from .chunks import ChunkPlan
from .codec import EncoderDecoder
from .errors import InputError, whole_number
from .resampling import MAX_CHANNELS, Resampler, check_rate

LIVE = ChunkPlan(4, 1)
"""Chunks for live use: 0.37 s, three quarters of it new. Longer ones sound better and come out later."""


class _Stream:
    """What encoder and decoder share: a context manager that ends the stream, and an error for input after that."""

    def __init__(self, codec: EncoderDecoder, plan: ChunkPlan, sample_rate: int | None, channels: int) -> None:
        self.codec, self.plan = codec, plan
        self.sample_rate = check_rate("sample_rate", codec.sample_rate if sample_rate is None else sample_rate)
        self.channels = whole_number("channels", channels, high=MAX_CHANNELS)
        self.ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.ended = True

    def _check_open(self) -> None:
        if self.ended:
            raise InputError("the stream has ended; open another one")


class StreamEncoder(_Stream):
    """Samples in blocks -> latents.

    Args:
        codec: the model.
        sample_rate: of the samples, in Hz; the codec's own by default.
        channels: of every block.
        plan: length and overlap of the chunks; `LIVE` by default.
    """

    def __init__(
        self,
        codec: EncoderDecoder,
        *,
        sample_rate: int | None = None,
        channels: int = 1,
        plan: ChunkPlan = LIVE,
    ) -> None:
        super().__init__(codec, plan, sample_rate, channels)
        self.num_samples = 0
        """Samples per channel pushed so far: what `StreamDecoder.flush` wants to know."""
        self._resampler = Resampler(self.channels, self.sample_rate, codec.sample_rate)
        self._encoding = Encoding(codec.runner, plan)

    @property
    def latency(self) -> int:
        """Samples (at the codec's rate) until the first latents come; more come after every `plan.step` frames."""
        return self.plan.length * self.codec.frame_size + 1

    def push(self, samples: Any) -> Tensor:
        """Samples `[C, n]`, or `[n]` for one channel -> the latents that are final now, `[C, D, l]`, l from 0 on.

        Raises:
            InputError: another number of channels, unusable samples, or a stream that has ended.
        """
        self._check_open()
        block = as_float(samples, block=True)
        block = block[None] if block.ndim == 1 else block
        if block.ndim != 2 or len(block) != self.channels:
            raise InputError(f"samples of shape {list(block.shape)}; this stream takes [{self.channels}, n]")
        array = block.detach().cpu().numpy().copy()  # the caller may use its buffer again
        self.num_samples += array.shape[1]
        return self._encoding.push(self._resampler.push(array)) / self.codec.latent_scale

    def flush(self) -> Tensor:
        """End the signal: the rest of its latents.

        Raises:
            InputError: no samples were pushed, or the stream has ended.
        """
        self._check_open()
        self.ended = True
        last = self._encoding.push(self._resampler.flush())
        return torch.cat([last, self._encoding.flush()], dim=-1) / self.codec.latent_scale


class StreamDecoder(_Stream):
    """Latents in order -> samples.

    Args:
        codec: the model.
        sample_rate: of the samples that come out, in Hz; the codec's own by default.
        channels: of the latents.
        plan: length and overlap of the chunks; `LIVE` by default.
        seed, num_steps: as in `EncoderDecoder.decompress`.
    """

    def __init__(
        self,
        codec: EncoderDecoder,
        *,
        sample_rate: int | None = None,
        channels: int = 1,
        plan: ChunkPlan = LIVE,
        seed: int = 0,
        num_steps: int = 1,
    ) -> None:
        super().__init__(codec, plan, sample_rate, channels)
        seed, num_steps = whole_number("seed", seed, low=0), whole_number("num_steps", num_steps)
        self.num_samples = 0
        """Samples per channel handed out so far."""
        self._resampler = Resampler(self.channels, codec.sample_rate, self.sample_rate)
        self._decoding = Decoding(codec.runner, plan, num_steps=num_steps, seed=seed)

    @property
    def latency(self) -> int:
        """Samples (at the codec's rate) from a sound going into an encoder of this plan to its coming out, at most.

        The sound may lie at the start of a chunk. That chunk's audio is final once the latent after its end is
        known, which the encoder gives with the chunk that holds it.
        """
        later = -(-(self.plan.length + 1) // self.plan.step) - 1  # chunks of the encoder after this one
        return (later * self.plan.step + self.plan.length) * self.codec.frame_size + self.codec.config.edge + 1

    def push(self, latents: Tensor) -> np.ndarray:
        """Latents `[C, D, l]`, l from 0 on -> the samples that are final now, `[C, n]` float32.

        Raises:
            InputError: another shape, or a stream that has ended.
        """
        self._check_open()
        expected = (self.channels, self.codec.latent_dim)
        if latents.ndim != 3 or latents.shape[:2] != expected:
            raise InputError(f"latents of shape {list(latents.shape)}; this stream takes {[*expected, 'l']}")
        return self._out(self._decoding.push(latents.float().cpu() * self.codec.latent_scale), last=False)

    def flush(self, num_samples: int | None = None) -> np.ndarray:
        """End the signal: the rest of its samples, so that all together are `num_samples`, the encoder's count.

        Without it, what comes ends with the last latent, up to one frame and 1536 samples late.

        Raises:
            InputError: more samples than the latents have, nothing pushed, or a stream that has ended.
        """
        self._check_open()
        rest = self._out(self._decoding.flush(), last=True)
        self.ended = True
        if num_samples is None:
            return rest
        missing = num_samples - (self.num_samples - rest.shape[1])
        if not 0 <= missing <= rest.shape[1]:
            raise InputError(f"num_samples = {num_samples}; these latents hold up to {self.num_samples}")
        return rest[:, :missing]

    def _out(self, block: np.ndarray, *, last: bool) -> np.ndarray:
        out = self._resampler.push(block)
        if last:
            out = np.concatenate([out, self._resampler.flush()], axis=1)
        self.num_samples += out.shape[1]
        return out
