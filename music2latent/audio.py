"""Audio files, the only module that opens them: block-wise reading and writing, and WAV on a pipe.

Audio passes as blocks `[C, n]` of float32 in [-1, 1], so that length costs no memory.
"""

from __future__ import annotations

import io
import os
import re
import wave
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

import numpy as np
import soundfile

from .arrays import as_float, check_finite
from .errors import InputError, whole_number
from .files import replacing
from .resampling import resample
from .threads import ahead

BLOCK_SAMPLES = 1 << 17
"""Samples that are read or written at a time."""

AudioFile: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, or a seekable file object opened for reading bytes, such as fsspec's."""

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
_ENDLESS = 0x7FFFF000  # bytes that the header of a WAV on a pipe promises: its end is not known yet


# ------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True, kw_only=True)
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


def is_file(audio: Any) -> bool:
    """Whether this is a path or a file object, not an array of samples."""
    return isinstance(audio, (str, os.PathLike)) or hasattr(audio, "read")


def open_source(audio: Any, sample_rate: int | None) -> AudioSource:
    """A file (`AudioFile`), or an array or tensor `[n]` or `[C, n]` with its sample rate, as a source.

    Raises:
        InputError: an unusable file or array, a rate missing for an array or given for a file.
    """
    if is_file(audio):
        if sample_rate is not None:
            raise InputError(f"sample_rate = {sample_rate} beside a file; a file knows its own rate, leave it out")
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
    return AudioSource(sample_rate=rate, channels=channels, num_samples=num_samples, format="array", blocks=blocks)


def open_audio(file: AudioFile) -> AudioSource:
    """Look into an audio file without reading its samples.

    Raises:
        InputError: missing, a folder, empty, not audio, truncated, without samples, or a file object that cannot seek.
    """
    name = _name(file)
    try:
        with _binary(file) as stream:
            if stream.seek(0, os.SEEK_END) == 0:
                raise InputError(f"{name}: an empty file (0 bytes), expected audio")
        with soundfile.SoundFile(file) as sound:
            format, log = f"{sound.format} {sound.subtype}", sound.extra_info
            rate, channels, num_samples = sound.samplerate, sound.channels, sound.frames
        if _is_truncated(file, format, log):
            raise InputError(f"{name}: truncated, the file ends before its audio does; get a complete copy of it")
    except soundfile.LibsndfileError as error:
        accepted = ", ".join(suffix[1:] for suffix in FORMATS)
        raise InputError(f"{name}: not audio that can be read ({error.error_string} Accepted: {accepted})") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error})") from error
    if num_samples == 0:
        raise InputError(f"{name}: audio without samples; at least one is needed")
    return AudioSource(
        sample_rate=rate,
        channels=channels,
        num_samples=num_samples,
        format=format,
        blocks=lambda: _file_blocks(file, num_samples, format),
    )


def _name(file: AudioFile) -> str:
    """What messages call the file."""
    if isinstance(file, (str, os.PathLike)):
        return os.fspath(file)
    return str(getattr(file, "name", None) or type(file).__name__)


@contextmanager
def _binary(file: AudioFile) -> Iterator[BinaryIO]:
    """The file's bytes. A caller's file object is not closed."""
    if isinstance(file, (str, os.PathLike)):
        if Path(file).is_dir():
            raise InputError(f"{file}: a folder, expected an audio file")
        if not Path(file).exists():
            raise InputError(f"{file}: no such file")
        with Path(file).open("rb") as stream:
            yield stream
    elif isinstance(cast(Any, file), io.TextIOBase) or not file.seekable():
        raise InputError(f"{_name(file)}: a file object must be seekable and opened as bytes ('rb'), or an io.BytesIO")
    else:
        yield file


def _file_blocks(file: AudioFile, num_samples: int, format: str) -> Iterator[np.ndarray]:
    name, done = _name(file), 0
    try:
        with soundfile.SoundFile(file) as sound:
            while len(block := sound.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
                yield check_finite(block.T, name, done)
                done += len(block)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{name}: damaged after sample {done} of {num_samples} ({error})") from error
    # Without a length in its header an MP3's length is estimated, to about two of its blocks of 1152 samples.
    if num_samples - done > (2304 if format.startswith("MP3") else 0):
        raise InputError(
            f"{name}: truncated, {done} of {num_samples} samples could be read; "
            "if it plays to its end, repair its header with ffmpeg -i IN -c copy OUT"
        )


def read_part(file: AudioFile, start: int, num_samples: int) -> np.ndarray:
    """Samples from `start` on, `[C, num_samples]`, by seeking: nothing before them is read.

    Raises:
        InputError: a file that cannot be read there, or ends before.
    """
    try:
        with soundfile.SoundFile(file) as sound:
            sound.seek(start)
            block = sound.read(num_samples, dtype="float32", always_2d=True).T
    except soundfile.LibsndfileError as error:
        raise InputError(f"{_name(file)}: cannot be read from sample {start} on ({error})") from error
    if block.shape[1] < num_samples:
        raise InputError(f"{_name(file)}: truncated, ends before sample {start + num_samples}")
    return check_finite(block, _name(file), start)


def read_whole(source: AudioSource, sample_rate: int) -> np.ndarray:
    """All samples at a rate, `[C, n]`."""
    blocks = resample(source.blocks(), source.channels, source.sample_rate, sample_rate)
    return np.concatenate(list(blocks), axis=-1)


def _is_truncated(file: AudioFile, format: str, log: str) -> bool:
    """Whether a file is shorter than it says, where libsndfile reads what is there without a word."""
    if format.startswith("OGG"):
        with _binary(file) as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - (1 << 17)))  # a page has 65 kB at most
            tail = stream.read()
        page = tail[tail.rfind(b"OggS") :]
        # A whole last page without its end-of-stream flag is fine: there are writers that never set it.
        return len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
    # WAV and AIFF: "data : 529200 (should be 264578)". Writers to a pipe leave a huge number there, which is fine.
    for size, actual in re.findall(r"(?:data|SSND)\s*: (\d+) \(should be (\d+)\)", log):
        if int(actual) < int(size) < 0x7FFF0000:
            return True
    return False


# ------------------------------------------------------------------------------------------------ writing


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


# ------------------------------------------------------------------------------------------------ WAV on a pipe


def open_wave_stream(stream: BinaryIO) -> tuple[Callable[[int], bytes], int, int]:
    """A 16-bit WAV that cannot be seeked: a function that reads so many samples per channel, its rate, its channels.

    Raises:
        InputError: not a WAV, or not of 16 bits.
    """
    try:
        file = wave.open(stream)  # noqa: SIM115
    except (wave.Error, EOFError) as error:
        raise InputError(f"standard input is not a WAV stream ({error}); for raw samples give --sample-rate") from error
    if file.getsampwidth() != 2:
        raise InputError(f"standard input has {8 * file.getsampwidth()} bits; accepted are 16 (sox -b 16)")
    return file.readframes, file.getframerate(), file.getnchannels()


def wave_stream_header(sample_rate: int, channels: int) -> bytes:
    """What a 16-bit WAV of unknown length begins with."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.setnframes(_ENDLESS // (2 * channels))
        file.writeframesraw(b"")
        return buffer.getvalue()  # closing the file would put the true length, none, in its place
