"""`music2latent live`: sound from one pipe to another, through the codec, as it comes."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from .chunks import ChunkPlan
from .codec import EncoderDecoder
from .errors import InputError
from .streaming import StreamDecoder, StreamEncoder
from .wave_stream import WaveStream, read_header

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
        reader, writer: WAV streams (whole numbers of 16, 24 or 32 bits, or floats of 32; what is written is as what is
            read), or raw little-endian samples of 16 bits if `sample_rate` is given.
        codec: the model.
        plan: length and overlap of the chunks.
        sample_rate, channels: of raw samples.
        seed: of the decoder's noise.

    Raises:
        InputError: no WAV stream of those kinds, unusable samples, or none at all.
    """
    raw = sample_rate is not None
    wave = WaveStream(sample_rate=sample_rate, channels=channels) if sample_rate is not None else read_header(reader)
    sample_rate, channels = wave.sample_rate, wave.channels
    encoder = StreamEncoder(codec, sample_rate=sample_rate, channels=channels, plan=plan)
    decoder = StreamDecoder(codec, sample_rate=sample_rate, channels=channels, plan=plan, seed=seed)

    def write(samples: np.ndarray) -> None:
        if samples.shape[1]:
            writer.write(wave.encode(samples))
            writer.flush()

    if not raw:
        writer.write(wave.header())
        writer.flush()
    left = wave.num_bytes
    block = max(1, round(BLOCK_SECONDS * sample_rate)) * wave.width
    while data := reader.read(block if left is None else min(block, left)):
        write(decoder.push(encoder.push(wave.decode(data))))
        left = None if left is None else left - len(data)
    last = decoder.push(encoder.flush())
    write(np.concatenate([last, decoder.flush(encoder.num_samples)], axis=1))
    if left:
        raise InputError(f"standard input ended {left} bytes before its header says; what came before is coded")
    return encoder.num_samples
