"""Changing the sample rate (soxr, very high quality): of a stream of blocks, or of a whole array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import soxr

from .errors import whole_number

QUALITY = "VHQ"
RATES = (1000, 768_000)
"""Lowest and highest sample rate in Hz that is accepted, everywhere: beyond them resampling takes gigabytes."""
MAX_CHANNELS = 1024
"""As many as libsndfile reads and writes."""


def check_rate(name: str, rate: Any) -> int:
    """A sample rate in Hz as an int; `name` is what the message calls it.

    Raises:
        InputError: not a whole number, or out of range.
    """
    return whole_number(name, rate, *RATES)


class Resampler:
    """Changes the rate of a signal pushed in blocks `[C, n]` (soxr, very high quality); equal rates pass through."""

    def __init__(self, channels: int, rate_in: int, rate_out: int) -> None:
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality=QUALITY)
        self._count, self._last = 0, np.zeros((channels, 0), np.float32)

    def push(self, block: np.ndarray) -> np.ndarray:
        """Add samples; returns those that are ready."""
        if self._stream is None:
            return block
        self._last = block[:, :1] if block.shape[1] else self._last
        out = self._stream.resample_chunk(np.ascontiguousarray(block.T)).T
        self._count += out.shape[1]
        return out

    def flush(self) -> np.ndarray:
        """The rest, at the signal's end."""
        if self._stream is None:
            return self._last
        out = self._stream.resample_chunk(np.zeros((0, len(self._last)), np.float32), last=True).T
        # One or two samples at a high rate are less than one at a lower rate: keep one, or the signal would vanish.
        return out if self._count + out.shape[1] else self._last


def resample(blocks: Iterable[np.ndarray], channels: int, rate_in: int, rate_out: int) -> Iterator[np.ndarray]:
    """`Resampler` of a whole signal in blocks `[C, n]`."""
    stream = Resampler(channels, rate_in, rate_out)
    yield from (stream.push(block) for block in blocks)
    if rate_in != rate_out:
        yield stream.flush()


def resample_array(audio: np.ndarray[Any, Any], rate_in: int, rate_out: int) -> np.ndarray[Any, Any]:
    """A whole signal `[n]` or `[C, n]` at another rate, about n * rate_out / rate_in samples, in its own dtype."""
    if rate_in == rate_out:
        return audio
    return np.ascontiguousarray(soxr.resample(audio.T, rate_in, rate_out, quality=QUALITY).T)
