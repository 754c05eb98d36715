"""Audio files, the only module that opens them: block-wise reading and writing.

Audio passes as blocks `[C, n]` of float32 in [-1, 1], so that length costs no memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from . import media
from .arrays import as_float, check_samples
from .errors import InputError
from .files import replacing
from .opening import AudioFile, Opened, binary, name_of, opened, system_name
from .opening import is_file as is_file
from .resampling import MAX_CHANNELS, check_rate, resample
from .threads import ahead
from .truncation import is_truncated, may_lack

BLOCK_SAMPLES = 1 << 17
"""Samples that are read or written at a time, of up to 8 channels; fewer of more."""

WRITTEN = {
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
"""libsndfile's format and default subtype for every suffix that is written."""

FORMATS = (*WRITTEN, *media.SUFFIXES)
"""Suffixes of what is read, which a folder is searched for. Without PyAV those of `media` are among them too, so that
such a file is refused by name, not left out in silence."""

_DEPTHS = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
_RATES = {
    ".opus": (8000, 12000, 16000, 24000, 48000),
    ".mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
}
_VORBIS_RATE = 200_000  # beyond it, or with 256 channels, libsndfile's encoder ends the process
_MAX_CHANNELS = {".flac": 8, ".mp3": 2, ".ogg": 255, ".oga": 255, ".opus": 255}
_SIZE_LIMIT = 4_000_000_000  # bytes; WAV, AIFF and AU files count them in 32 bits


# ------------------------------------------------------------------------------------------------ reading


@dataclass(frozen=True, kw_only=True)
class AudioSource:
    """Audio to be read, from a file or an array: its facts, and how to get at its samples."""

    sample_rate: int
    channels: int
    num_samples: int
    format: str
    subtype: str
    """libsndfile's word for how samples are stored (`PCM_24`, `FLOAT`, `VORBIS`); see `subtype_like`."""
    blocks: Callable[[], Iterator[np.ndarray]] = field(repr=False)
    """Gives the samples in order, `[C, n]` float32 at a time; raises InputError where they cannot be used."""

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sample_rate


def open_source(audio: Any, sample_rate: int | None) -> AudioSource:
    """A file (`AudioFile`), an array or tensor `[n]` or `[C, n]` with its sample rate, or a source, as a source.

    Raises:
        InputError: an unusable file or array, a rate missing for an array or given for a file.
    """
    if is_file(audio) or isinstance(audio, AudioSource):
        if sample_rate is not None:
            raise InputError(f"sample_rate = {sample_rate} beside a file; a file knows its own rate, leave it out")
        return audio if isinstance(audio, AudioSource) else open_audio(audio)
    samples = np.atleast_2d(as_float(audio).detach().cpu().numpy())
    if sample_rate is None:
        raise InputError("an array without sample_rate; pass the rate of its samples in Hz")
    if samples.ndim > 2:
        raise InputError(f"audio of shape {list(samples.shape)}; expected [n] or [C, n], one piece of audio at a time")
    channels, num_samples = samples.shape
    return AudioSource(
        sample_rate=check_rate("sample_rate", sample_rate),
        channels=channels,
        num_samples=num_samples,
        format="array",
        subtype="FLOAT",
        blocks=lambda: (samples[:, at : at + BLOCK_SAMPLES] for at in range(0, num_samples, BLOCK_SAMPLES)),
    )


def open_audio(file: AudioFile) -> AudioSource:
    """Look into audio. Samples are read by `blocks`, but for a pipe or download, which is read to its end and kept in a
    temporary file, and for the containers of `media`, which are decoded once to count them.

    Raises:
        InputError: missing, a folder, empty, not audio, truncated, without samples, or a rate that is not accepted.
    """
    name = name_of(file)
    with _refusing(name):
        content = opened(file)
        if container := _container(content, name):
            source = AudioSource(
                num_samples=container.count(),
                sample_rate=container.sample_rate,
                channels=container.channels,
                format=container.format,
                subtype=container.subtype,
                blocks=lambda: _in_blocks(container.frames()),
            )
        else:
            with _sound(content) as sound:
                log = sound.extra_info
                source = AudioSource(
                    sample_rate=sound.samplerate,
                    channels=sound.channels,
                    num_samples=sound.frames,
                    format=f"{sound.format} {sound.subtype}",
                    subtype=sound.subtype,
                    blocks=partial(_sound_blocks, content, name, sound.frames, sound.format),
                )
            if is_truncated(content, source.format, log):
                raise InputError(f"{name}: truncated, the file ends before its audio does; get a complete copy of it")
    if source.num_samples == 0:
        raise InputError(f"{name}: audio without samples; at least one is needed")
    check_rate(f"{name}: sample_rate", source.sample_rate)
    return source


def read_part(file: AudioFile, start: int, num_samples: int) -> np.ndarray:
    """Samples from `start` on, `[C, num_samples]`, by seeking: nothing before them is read (but in a container of
    `media`, where everything before them is decoded).

    Raises:
        InputError: a file that cannot be read there, or ends before.
    """
    name, end = name_of(file), start + num_samples
    with _refusing(name, f"from sample {start} on"):
        content = opened(file)
        if container := _container(content, name):
            parts, at = [], 0
            for frame in container.frames():
                parts.append(frame[:, max(start - at, 0) : end - at])
                at += frame.shape[1]
                if at >= end:
                    break
            return _whole(np.concatenate(parts, axis=1), name, end, num_samples)
        with _sound(content) as sound:
            sound.seek(start)
            block = sound.read(num_samples, dtype="float32", always_2d=True).T
    return check_samples(_whole(block, name, end, num_samples), name, start)


def _whole(block: np.ndarray, name: str, end: int, num_samples: int) -> np.ndarray:
    if block.shape[1] < num_samples:
        raise InputError(f"{name}: truncated, ends before sample {end}")
    return block


def read_whole(source: AudioSource, sample_rate: int) -> np.ndarray:
    """All samples at a rate, `[C, n]`."""
    blocks = resample(source.blocks(), source.channels, source.sample_rate, sample_rate)
    return np.concatenate(list(blocks), axis=-1)


@contextmanager
def _refusing(name: str, where: str = "") -> Iterator[None]:
    """Errors of libsndfile and of the system as an InputError."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        reason = f"{error.error_string} Accepted: {', '.join(suffix[1:] for suffix in FORMATS)}"
        raise InputError(f"{name}: not audio that can be read{where and ' ' + where} ({reason})") from error
    except InputError:
        raise
    except (OSError, ValueError) as error:  # a ValueError is a name that the system cannot hold
        raise InputError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _sound(content: Opened) -> soundfile.SoundFile:
    if not isinstance(content, (str, bytes)):
        content.seek(0)  # libsndfile looks for an MP3 where the file stands
    return soundfile.SoundFile(content)


def _container(content: Opened, name: str) -> media.Media | None:
    """What PyAV has to read, or None."""
    with binary(content) as stream:
        if not (head := stream.read(media.HEAD)):
            raise InputError(f"{name}: an empty file (0 bytes), or a stream that was read already; expected audio")
    demuxer = media.demuxer(head)
    return media.Media(name, demuxer, partial(binary, content)) if demuxer else None


def _in_blocks(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    waiting: list[np.ndarray] = []
    for frame in frames:
        waiting.append(frame)
        if sum(one.shape[1] for one in waiting) >= _block_samples(len(frame)):
            yield np.concatenate(waiting, axis=1)
            waiting = []
    if waiting:
        yield np.concatenate(waiting, axis=1)


def _block_samples(channels: int) -> int:
    return min(BLOCK_SAMPLES, 8 * BLOCK_SAMPLES // channels)


def _sound_blocks(content: Opened, name: str, num_samples: int, format: str) -> Iterator[np.ndarray]:
    done = 0
    try:
        with _sound(content) as sound:
            size = _block_samples(sound.channels)
            while len(block := sound.read(size, dtype="float32", always_2d=True)):
                yield check_samples(block.T, name, done)
                done += len(block)
    except soundfile.LibsndfileError as error:
        raise InputError(f"{name}: damaged after sample {done} of {num_samples} ({error.error_string})") from error
    if num_samples - done > may_lack(content, format):
        raise InputError(
            f"{name}: truncated, {done} of {num_samples} samples could be read; "
            "if it plays to its end, repair its header with ffmpeg -i IN -c copy OUT"
        )


# ------------------------------------------------------------------------------------------------ writing


def subtypes(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """What a file of this suffix can store samples as, in libsndfile's words; the first is the default."""
    format, default = WRITTEN[Path(path).suffix.lower()]
    available = soundfile.available_subtypes(format)
    return (default, *(depth for depth in _DEPTHS if depth in available and depth != default))


def subtype_like(path: str | os.PathLike[str], subtype: str) -> str:
    """What keeps the depth of a source stored as `subtype`, as far as a file of this suffix can.

    24 bits stay 24 bits and floats stay floats, or become the 24 bits of a `.flac`; all else gets the default.
    """
    accepted = subtypes(path)
    wanted = {"DOUBLE": "FLOAT"}.get(subtype, subtype.replace("ALAC", "PCM"))
    if wanted in accepted:
        return wanted
    return "PCM_24" if wanted in ("FLOAT", "PCM_20", "PCM_32") and "PCM_24" in accepted else accepted[0]


def check_writable(path: Path, sample_rate: int, channels: int, subtype: str | None = None) -> None:
    """Refuse, before any work is done, a suffix, rate, channel count or subtype that cannot be written.

    Raises:
        InputError: with the suffixes, rates or subtypes that can be.
    """
    suffix, name = path.suffix.lower(), name_of(path)
    if suffix not in WRITTEN:
        raise InputError(f"{name}: cannot write {suffix or 'a file without suffix'}; accepted: {' '.join(WRITTEN)}")
    if subtype is not None and subtype not in subtypes(path):
        raise InputError(f"{name}: {suffix} cannot hold {subtype}; accepted: {', '.join(subtypes(path))}")
    most = _MAX_CHANNELS.get(suffix, MAX_CHANNELS)
    if channels > most:
        raise InputError(f"{name}: {suffix} cannot hold {channels} channels (at most {most}); use .wav")
    rates = _RATES.get(suffix)
    if rates and sample_rate not in rates:
        raise InputError(
            f"{name}: {suffix} cannot hold {sample_rate} Hz (accepted: {', '.join(map(str, rates))}); use .flac or .wav"
        )
    check_rate(f"{name}: sample_rate", sample_rate)
    if WRITTEN[suffix][1] == "VORBIS" and sample_rate > _VORBIS_RATE:
        raise InputError(f"{name}: {suffix} cannot hold {sample_rate} Hz (at most {_VORBIS_RATE}); use .wav")
    if suffix == ".flac" and (sample_rate > 655350 or (sample_rate > 65535 and sample_rate % 10)):
        raise InputError(f"{name}: .flac cannot hold {sample_rate} Hz; use .wav")


def write_audio(
    path: str | os.PathLike[str],
    blocks: Iterable[np.ndarray],
    sample_rate: int,
    channels: int,
    num_samples: int,
    *,
    subtype: str | None = None,
    overwrite: bool = True,
) -> None:
    """Write blocks `[C, n]` in the format of the suffix, to a temporary name first.

    Args:
        path: its suffix is one of `WRITTEN`.
        blocks: samples in [-1, 1].
        sample_rate, channels, num_samples: what the blocks hold.
        subtype: one of `subtypes(path)`, by default the first.
        overwrite: as in `files.replacing`.

    Raises:
        InputError: a format that cannot hold it, an unwritable folder, a full disk. Nothing is left then.
    """
    path, name = Path(path), name_of(path)
    check_writable(path, sample_rate, channels, subtype)
    format, default = WRITTEN[path.suffix.lower()]
    subtype = subtype or default
    width = {"PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}.get(subtype, 2)
    if width * channels * num_samples > _SIZE_LIMIT and format in ("WAV", "AIFF", "AU"):
        if format != "WAV":
            raise InputError(f"{name}: {path.suffix} cannot hold more than {_SIZE_LIMIT} bytes; use .wav or .caf")
        format = "RF64"  # a WAV with 64-bit sizes
    try:
        with replacing(path, overwrite=overwrite) as unfinished:
            target = system_name(unfinished)
            with soundfile.SoundFile(
                target, "w", samplerate=sample_rate, channels=channels, format=format, subtype=subtype
            ) as file:
                for block in ahead(blocks):
                    file.write(block.T)
            if soundfile.info(target).frames != num_samples:
                raise OSError("not all samples arrived in the file; is the disk full?")
    except soundfile.LibsndfileError as error:
        raise InputError(f"{name}: cannot be written ({error.error_string}); nothing was left there") from error
