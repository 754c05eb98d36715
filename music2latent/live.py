"""`music2latent live`: 16-bit sound from one pipe to another, through the codec, as it comes."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from typing import BinaryIO

import numpy as np

from .chunks import WindowPlan
from .codec import EncoderDecoder
from .errors import InputError
from .streaming import StreamDecoder, StreamEncoder

BLOCK_SECONDS = 0.02
"""Sound read at a time."""
_ENDLESS = 0x7FFFF000
"""Bytes that the header of a WAV on a pipe promises: nobody knows its end yet."""


def run(
    source: BinaryIO,
    target: BinaryIO,
    codec: EncoderDecoder,
    plan: WindowPlan,
    *,
    rate: int | None,
    channels: int,
    seed: int,
) -> int:
    """Copy a stream through the codec until it ends; returns samples per channel, as many out as in.

    Args:
        source, target: 16-bit little-endian WAV streams, or raw samples if `rate` is given.
        codec: the model.
        plan: windows.
        rate, channels: of raw samples.
        seed: of the decoder's noise.

    Raises:
        InputError: not a 16-bit WAV stream, or no samples at all.
    """
    if rate is None:
        read, rate, channels = _open_wave(source)
        target.write(_wave_header(rate, channels))
        target.flush()
    else:
        frame = 2 * channels

        def read(count: int) -> bytes:
            return source.read(count * frame)

    encoder = StreamEncoder(codec, sample_rate=rate, channels=channels, plan=plan)
    decoder = StreamDecoder(codec, sample_rate=rate, channels=channels, plan=plan, seed=seed)
    while data := read(max(1, round(BLOCK_SECONDS * rate))):
        samples = np.frombuffer(data[: len(data) // (2 * channels) * 2 * channels], "<i2").reshape(-1, channels).T
        _write(target, decoder.push(encoder.push(samples)))
    last = decoder.push(encoder.flush())
    _write(target, np.concatenate([last, decoder.flush(encoder.num_samples)], axis=1))
    return encoder.num_samples


def _open_wave(source: BinaryIO) -> tuple[Callable[[int], bytes], int, int]:
    """A function that reads so many frames, the rate, and the channels."""
    try:
        file = wave.open(source)  # noqa: SIM115
    except (wave.Error, EOFError) as error:
        raise InputError(f"standard input is not a WAV stream ({error}); for raw samples give --rate") from error
    if file.getsampwidth() != 2:
        raise InputError(f"standard input has {8 * file.getsampwidth()} bits; accepted are 16 (sox -b 16)")
    return file.readframes, file.getframerate(), file.getnchannels()


def _wave_header(rate: int, channels: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.setnframes(_ENDLESS // (2 * channels))
        file.writeframesraw(b"")
        return buffer.getvalue()  # before its end is known to be here


def _write(target: BinaryIO, samples: np.ndarray) -> None:
    if samples.shape[1]:
        target.write((samples.T * 32767).round().astype("<i2").tobytes())
        target.flush()
