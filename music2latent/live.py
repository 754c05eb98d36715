"""`music2latent live`: 16-bit sound from one pipe to another, through the codec, as it comes."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from .audio import open_wave_stream, wave_stream_header
from .chunks import ChunkPlan
from .codec import EncoderDecoder
from .streaming import StreamDecoder, StreamEncoder

BLOCK_SECONDS = 0.02
"""Sound read at a time."""


def run(
    reader: BinaryIO,
    writer: BinaryIO,
    codec: EncoderDecoder,
    plan: ChunkPlan,
    *,
    sample_rate: int | None,
    channels: int,
    seed: int,
) -> int:
    """Copy a stream through the codec until it ends; returns samples per channel, as many out as in.

    Args:
        reader, writer: 16-bit little-endian WAV streams, or raw samples if `sample_rate` is given.
        codec: the model.
        plan: length and overlap of the chunks.
        sample_rate, channels: of raw samples.
        seed: of the decoder's noise.

    Raises:
        InputError: not a 16-bit WAV stream, or no samples at all.
    """
    if sample_rate is None:
        read, sample_rate, channels = open_wave_stream(reader)
        writer.write(wave_stream_header(sample_rate, channels))
        writer.flush()
    else:

        def read(count: int) -> bytes:
            return reader.read(count * width)

    width = 2 * channels  # bytes of one sample in all channels
    encoder = StreamEncoder(codec, sample_rate=sample_rate, channels=channels, plan=plan)
    decoder = StreamDecoder(codec, sample_rate=sample_rate, channels=channels, plan=plan, seed=seed)
    while data := read(max(1, round(BLOCK_SECONDS * sample_rate))):
        samples = np.frombuffer(data[: len(data) // width * width], "<i2").reshape(-1, channels).T
        _write(writer, decoder.push(encoder.push(samples)))
    last = decoder.push(encoder.flush())
    _write(writer, np.concatenate([last, decoder.flush(encoder.num_samples)], axis=1))
    return encoder.num_samples


def _write(writer: BinaryIO, samples: np.ndarray) -> None:
    if samples.shape[1]:
        writer.write((samples.T * 32767).round().astype("<i2").tobytes())
        writer.flush()
