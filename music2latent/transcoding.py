"""A file through the codec into another file: audio -> latents, latents -> audio, and both in a row."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from .audio import check_writable, open_audio, write_audio
from .codec import EncoderDecoder
from .latents import Latents
from .progress import Progress


def encode_file(
    codec: EncoderDecoder,
    audio: Path,
    target: Path,
    *,
    coding_rate: int | None = None,
    dtype: str = "float16",
    progress: Progress | None = None,
) -> Latents:
    """An audio file -> an `.m2l` file; returns its content before rounding. Arguments as in `compress` and `save`."""
    latents = codec.compress(audio, coding_rate=coding_rate, progress=progress)
    latents.save(target, dtype=dtype)
    return latents


def decode_file(
    codec: EncoderDecoder,
    path: Path,
    target: Path,
    *,
    seed: int = 0,
    num_steps: int = 1,
    progress: Progress | None = None,
) -> Latents:
    """An `.m2l` file -> an audio file in the format of its suffix; arguments as in `decompress`."""
    latents = Latents.load(path)
    check_writable(target, latents.sample_rate, latents.channels)
    _write(codec, latents, target, seed, num_steps, progress)
    return latents


@dataclass(frozen=True)
class Reconstruction:
    """What lay between the two files, and the seconds that encoding and decoding took."""

    latents: Latents
    encode_seconds: float
    decode_seconds: float


def reconstruct_file(
    codec: EncoderDecoder,
    audio: Path,
    target: Path,
    *,
    coding_rate: int | None = None,
    seed: int = 0,
    num_steps: int = 1,
    progress: Progress = lambda done: None,
) -> Reconstruction:
    """An audio file -> an audio file of the same rate, channels and length, through latents as a file stores them."""
    source = open_audio(audio)
    check_writable(target, source.sample_rate, source.channels)
    begun = time.perf_counter()
    # Decoding takes about three times as long as encoding.
    latents = codec.compress(audio, coding_rate=coding_rate, progress=lambda done: progress(done / 4)).rounded()
    encoded = time.perf_counter()
    _write(codec, latents, target, seed, num_steps, lambda done: progress(1 / 4 + done * 3 / 4))
    return Reconstruction(latents, encoded - begun, time.perf_counter() - encoded)


def _write(
    codec: EncoderDecoder, latents: Latents, target: Path, seed: int, num_steps: int, progress: Progress | None
) -> None:
    blocks = codec.decompress_blocks(latents, seed=seed, num_steps=num_steps, progress=progress)
    write_audio(target, blocks, latents.sample_rate, latents.channels, latents.num_samples)
