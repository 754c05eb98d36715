"""A file through the codec into another file: audio -> latents, latents -> audio, and both in a row."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .audio import WRITTEN, check_writable, open_audio, subtype_like, write_audio
from .codec import EncoderDecoder
from .errors import InputError
from .files import check_suffix, replacing, stored_bits
from .latents import Latents
from .m2l import LatentsFile
from .opening import AudioFile
from .progress import Progress

FEATURES_SUFFIX = ".npy"


def encode_file(
    codec: EncoderDecoder,
    audio: AudioFile,
    target: Path,
    *,
    coding_rate: int | None = None,
    dtype: str = "float16",
    overwrite: bool = True,
    progress: Progress | None = None,
) -> Latents:
    """Audio -> an `.m2l` file; returns its content before rounding. Arguments as in `compress` and `save`."""
    latents = codec.compress(audio, coding_rate=coding_rate, progress=progress)
    latents.save(target, dtype=dtype, overwrite=overwrite)
    return latents


def encode_features_file(
    codec: EncoderDecoder,
    audio: AudioFile,
    target: Path,
    *,
    coding_rate: int | None = None,
    dtype: str = "float16",
    overwrite: bool = True,
    progress: Progress | None = None,
) -> tuple[int, ...]:
    """Audio -> the encoder's features as an `.npy` file `[C, feature_dim, L]`; returns their shape.

    Raises:
        InputError: as `encode_file`, or features that float16 cannot hold.
    """
    check_suffix(target, FEATURES_SUFFIX, "features")
    stored_bits(dtype)
    features = codec.compress(audio, coding_rate=coding_rate, features=True, progress=progress).features
    assert features is not None  # as asked for
    with np.errstate(over="ignore"):
        stored = features.numpy().astype(dtype)
    if not np.isfinite(stored).all():
        raise InputError(f"{target}: features beyond float16's 65504; store them as float32")
    with replacing(target, overwrite=overwrite) as partial, partial.open("wb") as file:
        np.save(file, stored, allow_pickle=False)
    return stored.shape


def decode_file(
    codec: EncoderDecoder,
    file: LatentsFile,
    target: Path,
    *,
    seed: int | None = 0,
    num_steps: int = 1,
    subtype: str | None = None,
    overwrite: bool = True,
    progress: Progress | None = None,
) -> Latents:
    """An `.m2l` file -> an audio file in the format of its suffix; arguments as in `decompress` and `write_audio`."""
    latents = Latents.load(file)
    check_writable(target, latents.sample_rate, latents.channels, subtype)
    blocks = codec.decompress_blocks(latents, seed=seed, num_steps=num_steps, progress=progress)
    facts = (latents.sample_rate, latents.channels, latents.num_samples)
    write_audio(target, blocks, *facts, subtype=subtype, overwrite=overwrite)
    return latents


@dataclass(frozen=True)
class Reconstruction:
    """What lay between the two files, and the seconds that encoding and decoding took."""

    latents: Latents
    encode_seconds: float
    decode_seconds: float


def reconstruct_file(
    codec: EncoderDecoder,
    audio: AudioFile,
    target: Path,
    *,
    coding_rate: int | None = None,
    seed: int | None = 0,
    num_steps: int = 1,
    subtype: str | None = None,
    overwrite: bool = True,
    progress: Progress = lambda done: None,
) -> Reconstruction:
    """Audio -> an audio file of the same rate, channels and length, and subtype where it can hold that, through latents
    as a file stores them."""
    source = open_audio(audio)
    if subtype is None and target.suffix.lower() in WRITTEN:
        subtype = subtype_like(target, source.subtype)
    check_writable(target, source.sample_rate, source.channels, subtype)
    begun = time.perf_counter()
    # Decoding takes about three times as long as encoding.
    latents = codec.compress(source, coding_rate=coding_rate, progress=lambda done: progress(done / 4)).rounded()
    encoded = time.perf_counter()
    blocks = codec.decompress_blocks(
        latents, seed=seed, num_steps=num_steps, progress=lambda done: progress(1 / 4 + done * 3 / 4)
    )
    facts = (latents.sample_rate, latents.channels, latents.num_samples)
    write_audio(target, blocks, *facts, subtype=subtype, overwrite=overwrite)
    return Reconstruction(latents, encoded - begun, time.perf_counter() - encoded)


def warm_up(codec: EncoderDecoder) -> None:
    """Run once what is slow the first time, so that it is not measured with the rest."""
    codec.reconstruct(np.zeros(1, np.float32), codec.sample_rate)
