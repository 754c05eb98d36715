"""WAV on a pipe: read and written as it comes, without an end if need be.

libsndfile reads pipes too, but stops after as many bytes as the header promises. A program that writes to a pipe does
not know how many there will be, and promises 4 GB or 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from .errors import InputError, whole_number
from .resampling import MAX_CHANNELS, check_rate
from .truncation import says_nothing

_ENDLESS = 0x7FFFF000  # bytes that our header promises
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE


@dataclass(frozen=True, kw_only=True)
class WaveStream:
    """Samples on a pipe: what they are, and their way to and from bytes. All numbers are little-endian."""

    sample_rate: int
    channels: int
    bits: int = 16
    """16, 24 or 32 of a whole number, or 32 of a float."""
    is_float: bool = False
    num_bytes: int | None = None
    """Of the samples that follow, where the header knows; otherwise they follow to the end."""

    def __post_init__(self) -> None:
        check_rate("sample_rate", self.sample_rate)
        whole_number("channels", self.channels, high=MAX_CHANNELS)

    @property
    def width(self) -> int:
        """Bytes of one sample in all channels."""
        return self.channels * self.bits // 8

    def header(self) -> bytes:
        """What a WAV of this kind and of unknown length begins with."""
        code, size = _FLOAT if self.is_float else _PCM, _ENDLESS // self.width * self.width
        rates = self.sample_rate, self.sample_rate * self.width, self.width, self.bits
        fmt = struct.pack("<HHIIHH", code, self.channels, *rates) + bytes(2 * self.is_float)  # floats: no extension
        body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(fmt)) + fmt + struct.pack("<4sI", b"data", size)
        return struct.pack("<4sI", b"RIFF", len(body) + size) + body

    def decode(self, data: bytes) -> np.ndarray:
        """Bytes -> samples `[C, n]`, integers (24 bits become 32) or float32; half a sample at the end is left out."""
        data = data[: len(data) // self.width * self.width]
        if self.bits == 24:
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            samples = wide.view("<i4")
        else:
            samples = np.frombuffer(data, f"<{'f' if self.is_float else 'i'}{self.bits // 8}")
        return samples.reshape(-1, self.channels).T

    def encode(self, samples: np.ndarray) -> bytes:
        """Samples `[C, n]` float32 in [-1, 1] -> bytes."""
        if self.is_float:
            return samples.T.astype("<f4").tobytes()
        whole = (samples.T.astype(np.float64) * (2 ** (self.bits - 1) - 1)).round()
        if self.bits == 24:
            return whole.astype("<i4").reshape(-1, 1).view(np.uint8)[:, :3].tobytes()
        return whole.astype(f"<i{self.bits // 8}").tobytes()


def read_header(stream: BinaryIO) -> WaveStream:
    """Read a WAV up to its samples, nothing further.

    Raises:
        InputError: not a WAV, or of samples that are neither whole numbers of 16, 24 or 32 bits nor floats of 32.
    """
    if (head := stream.read(12))[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise _no_wave(f"it begins with {head[:4]!r}" if head else "it is empty")
    fmt = b""
    while True:
        kind, size = struct.unpack("<4sI", _exactly(stream, 8))
        if kind == b"data":
            break
        if kind == b"fmt ":
            fmt = _exactly(stream, min(size, 40))
            size -= len(fmt)
        for skipped in range(0, size + size % 2, 1 << 16):
            _exactly(stream, min(1 << 16, size + size % 2 - skipped))
    if len(fmt) < 16:
        raise _no_wave("no format before its samples")
    code, channels, rate, _, width, bits = struct.unpack("<HHIIHH", fmt[:16])
    if code == _EXTENSIBLE and len(fmt) == 40:
        code = int.from_bytes(fmt[24:26], "little")  # a GUID begins with the plain code
    if (code, bits) not in ((_PCM, 16), (_PCM, 24), (_PCM, 32), (_FLOAT, 32)):
        raise InputError(
            f"standard input is a WAV of format {code} with {bits} bits; accepted: whole numbers (1) of 16, 24 or 32 "
            "bits, floats (3) of 32 (sox -b 16)"
        )
    try:
        known = None if says_nothing(size) else size
        found = WaveStream(sample_rate=rate, channels=channels, bits=bits, is_float=code == _FLOAT, num_bytes=known)
    except InputError as error:
        raise InputError(f"standard input is a WAV stream with {error}") from error
    if width != found.width:
        raise _no_wave(f"its header counts {width} bytes per sample, not {found.width}")
    return found


def _exactly(stream: BinaryIO, count: int) -> bytes:
    if len(data := stream.read(count)) < count:
        raise _no_wave("it ends within its header")
    return data


def _no_wave(reason: str) -> InputError:
    return InputError(f"standard input is not a WAV stream ({reason}); for raw samples give --sample-rate")
