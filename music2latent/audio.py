"""Audio files, and nothing else knows them: block-wise reading and writing, resampling, arrays at the door.

Everything passes as blocks `[C, n]` of float32 in [-1, 1], so that length costs no memory.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch

from .errors import InputError, whole_number
from .files import replacing
from .threads import ahead

BLOCK_SAMPLES = 1 << 17
"""Samples that are read or written at a time."""

FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".oga": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_16"),
    ".aif": ("AIFF", "PCM_16"),
    ".au": ("AU", "PCM_16"),
    ".caf": ("CAF", "PCM_16"),
    ".w64": ("W64", "PCM_16"),
    ".rf64": ("RF64", "PCM_16"),
}
"""What is written for a suffix; these suffixes are also what a folder is searched for."""

_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_MAX_CHANNELS = {".flac": 8, ".mp3": 2}
_WAV_LIMIT = 4_000_000_000  # bytes; a .wav file counts them in 32 bits


@dataclass(frozen=True)
class AudioSource:
    """Audio to be read, from a file or an array: its facts, and how to get at its samples."""

    sample_rate: int
    channels: int
    num_samples: int
    format: str
    blocks: Callable[[], Iterator[np.ndarray]] = field(repr=False)
    """Gives the samples in order, `[C, n]` float32 at a time; raises InputError where they cannot be used."""

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sample_rate


def open_source(audio: Any, sample_rate: int | None) -> AudioSource:
    """A path, or an array or tensor `[n]` or `[C, n]` with its sample rate, as a source.

    Raises:
        InputError: an unusable file or array, a rate missing for an array or given for a file.
    """
    if isinstance(audio, (str, os.PathLike)):
        if sample_rate is not None:
            raise InputError(f"sample_rate = {sample_rate} beside a path; a file knows its own rate, leave it out")
        return open_audio(audio)
    if sample_rate is None:
        raise InputError("an array without sample_rate; pass the rate of its samples in Hz")
    rate = whole_number("sample_rate", sample_rate, high=10**7)
    samples = np.atleast_2d(as_float(audio).detach().cpu().numpy())
    if samples.ndim > 2:
        raise InputError(f"audio of shape {list(samples.shape)}; expected [n] or [C, n], one piece of audio at a time")

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, samples.shape[1], BLOCK_SAMPLES):
            yield samples[:, start : start + BLOCK_SAMPLES]

    channels, num_samples = samples.shape
    return AudioSource(rate, channels, num_samples, "array", blocks)


def open_audio(path: str | os.PathLike[str]) -> AudioSource:
    """Look into an audio file without reading its samples.

    Raises:
        InputError: missing, a folder, empty, not audio, truncated, or without samples.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: a folder, expected an audio file")
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: an empty file (0 bytes), expected audio")
    try:
        with soundfile.SoundFile(path) as file:
            format, log = f"{file.format} {file.subtype}", file.extra_info
            facts = (file.samplerate, file.channels, file.frames)
    except soundfile.LibsndfileError as error:
        accepted = ", ".join(suffix[1:] for suffix in FORMATS)
        raise InputError(f"{path}: not audio that can be read ({error.error_string} Accepted: {accepted})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if _is_truncated(path, format, log):
        raise InputError(f"{path}: truncated, the file ends before its audio does; get a complete copy of it")
    if facts[2] == 0:
        raise InputError(f"{path}: audio without samples; at least one is needed")
    return AudioSource(*facts, format, lambda: _file_blocks(path, facts[2], format))


def _file_blocks(path: Path, num_samples: int, format: str) -> Iterator[np.ndarray]:
    done = 0
    try:
        with soundfile.SoundFile(path) as file:
            while len(block := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
                yield check_finite(block.T, f"{path}", done)
                done += len(block)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: damaged after sample {done} of {num_samples} ({error})") from error
    # Without a length in its header an MP3's length is estimated, to about two frames of 1152 samples.
    if num_samples - done > (2304 if format.startswith("MP3") else 0):
        raise InputError(
            f"{path}: truncated, {done} of {num_samples} samples could be read; "
            "if it plays to its end, repair its header with ffmpeg -i IN -c copy OUT"
        )


def read_part(path: str | os.PathLike[str], start: int, num_samples: int) -> np.ndarray:
    """Samples from `start` on, `[C, num_samples]`, by seeking: nothing before them is decoded.

    Raises:
        InputError: a file that cannot be read there, or ends before.
    """
    try:
        with soundfile.SoundFile(path) as file:
            file.seek(start)
            block = file.read(num_samples, dtype="float32", always_2d=True).T
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: cannot be read from sample {start} on ({error})") from error
    if block.shape[1] < num_samples:
        raise InputError(f"{path}: truncated, ends before sample {start + num_samples}")
    return check_finite(block, f"{path}", start)


def read_whole(source: AudioSource, sample_rate: int) -> np.ndarray:
    """All samples at a rate, `[C, n]`."""
    blocks = resample(source.blocks(), source.channels, source.sample_rate, sample_rate)
    return np.concatenate(list(blocks), axis=-1)


def _is_truncated(path: Path, format: str, log: str) -> bool:
    """Whether a file is shorter than it says, where libsndfile reads what is there without a word."""
    if format.startswith("OGG"):
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - (1 << 17)))  # a page has 65 kB at most
            tail = file.read()
        page = tail[tail.rfind(b"OggS") :]
        # A whole last page without its end-of-stream flag is fine: there are writers that never set it.
        return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
    # WAV and AIFF: "data : 529200 (should be 264578)". Writers to a pipe leave a huge number there, which is fine.
    for size, actual in re.findall(r"(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", log):
        if int(actual) < int(size) < 0x7FFF0000:
            return True
    return False


def check_writable(path: Path, sample_rate: int, channels: int) -> None:
    """Refuse, before any work is done, a suffix, rate or channel count that cannot be written.

    Raises:
        InputError: with the suffixes or rates that can be.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{path}: cannot write {suffix or 'a file without suffix'}; accepted: {' '.join(FORMATS)}")
    rates = {".opus": _OPUS_RATES, ".mp3": _MP3_RATES}.get(suffix)
    if rates and sample_rate not in rates:
        raise InputError(
            f"{path}: {suffix} cannot hold {sample_rate} Hz (accepted: {', '.join(map(str, rates))}); use .flac or .wav"
        )
    most = _MAX_CHANNELS.get(suffix, 255)
    if channels > most:
        raise InputError(f"{path}: {suffix} cannot hold {channels} channels (at most {most}); use .wav")


def write_audio(
    path: str | os.PathLike[str], blocks: Iterable[np.ndarray], sample_rate: int, channels: int, num_samples: int
) -> None:
    """Write blocks `[C, n]` in the format of the suffix, to a temporary name first.

    Raises:
        InputError: a format that cannot hold it, an unwritable folder, a full disk. Nothing is left then.
    """
    path = Path(path)
    check_writable(path, sample_rate, channels)
    format, subtype = FORMATS[path.suffix.lower()]
    if format == "WAV" and 2 * channels * num_samples > _WAV_LIMIT:
        format = "RF64"  # a WAV with 64-bit sizes
    try:
        with replacing(path) as partial:
            with soundfile.SoundFile(
                partial, "w", samplerate=sample_rate, channels=channels, format=format, subtype=subtype
            ) as file:
                for block in ahead(blocks):
                    file.write(block.T)
            if soundfile.info(partial).frames != num_samples:
                raise OSError("not all samples arrived in the file; is the disk full?")
    except soundfile.LibsndfileError as error:
        raise InputError(f"{path}: cannot be written ({error.error_string}); nothing was left there") from error


class Resampler:
    """Changes the rate of a signal pushed in blocks `[C, n]` (soxr, very high quality); equal rates pass through."""

    def __init__(self, channels: int, rate_in: int, rate_out: int) -> None:
        self._stream = None
        if rate_in != rate_out:
            self._stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="VHQ")
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
        # One or two samples at a high rate are less than one at a lower: keep one, nothing may vanish.
        return out if self._count + out.shape[1] else self._last


def resample(blocks: Iterable[np.ndarray], channels: int, rate_in: int, rate_out: int) -> Iterator[np.ndarray]:
    """`Resampler` of a whole signal in blocks `[C, n]`."""
    stream = Resampler(channels, rate_in, rate_out)
    yield from (stream.push(block) for block in blocks)
    if rate_in != rate_out:
        yield stream.flush()


def check_finite(audio: np.ndarray, name: str = "audio", offset: int = 0) -> np.ndarray:
    """Refuse NaN and infinite samples of `[..., n]`, naming the first one's position.

    Raises:
        InputError: there is one.
    """
    if not np.isfinite(audio).all():
        bad = int(np.argwhere(~np.isfinite(audio))[:, -1].min())
        raise InputError(f"{name}: NaN or infinite at sample {offset + bad}; samples must be finite, in [-1, 1]")
    return audio


_INTEGER_SCALES = {"int8": 2**7, "uint8": 2**7, "int16": 2**15, "uint16": 2**15, "int32": 2**31}


def as_float(audio: Any, *, allow_empty: bool = False) -> torch.Tensor:
    """An array or tensor of samples, any axes with time last, as a float32 tensor on its own device.

    Integers are scaled by their range (unsigned ones are centred, as 8-bit WAV files are). Gradients are kept.

    Raises:
        InputError: no samples, NaN or infinite ones, complex, boolean or 64-bit integers, or time not last.
    """
    try:
        tensor = audio if isinstance(audio, torch.Tensor) else torch.as_tensor(_plain(np.asarray(audio)))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"audio of type {type(audio).__name__}, not an array of numbers; pass an array [C, n]"
        ) from error
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind in _INTEGER_SCALES:
        scale = _INTEGER_SCALES[kind]
        tensor = (tensor.to(torch.float64) - (scale if kind.startswith("u") else 0)).div(scale)
    elif not tensor.is_floating_point():
        raise InputError(f"audio of type {kind}: accepted are floats in [-1, 1] and {', '.join(_INTEGER_SCALES)}")
    shape = tuple(tensor.shape)
    if tensor.ndim == 0 or (tensor.numel() == 0 and not allow_empty):
        raise InputError(f"audio of shape {list(shape)} has no samples; at least one is needed")
    if tensor.ndim > 1 and shape[-1] <= 32 < shape[-2]:
        raise InputError(f"audio of shape {list(shape)} looks like [n, C]; expected is time last, [C, n]: pass audio.T")
    if not bool(torch.isfinite(tensor).all()):
        check_finite(tensor.detach().cpu().numpy())
    return tensor.to(torch.float32)


def _plain(array: np.ndarray) -> np.ndarray:
    """The array as PyTorch takes it: native byte order, no long doubles, writeable, strides that are not negative."""
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    array = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    return array if array.flags.writeable else array.copy()
