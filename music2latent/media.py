"""Audio in containers that libsndfile does not read (MP4, Matroska, ASF, AVI), through PyAV where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO

import numpy as np

from .arrays import check_samples
from .errors import InputError
from .extras import require
from .truncation import container_is_truncated

SUFFIXES = (".m4a", ".m4b", ".mp4", ".mov", ".webm", ".mka", ".mkv", ".wma", ".avi")


HEAD = 12
"""Bytes that `demuxer` looks at."""


def demuxer(head: bytes) -> str | None:
    """FFmpeg's name for the container that begins so, or None. No other format is left to FFmpeg: some of those that
    it would guess are lists of further files and addresses."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    return {b"\x1aE\xdf\xa3": "matroska", b"0&\xb2u": "asf"}.get(head[:4])


class Media:
    """The best audio track of a container.

    Args:
        name: what messages call it.
        demuxer: FFmpeg's name for the container.
        open: gives the file's bytes, from their start, as often as it is called.

    Raises:
        InputError: PyAV is not installed, no audio in it, truncated or damaged.
    """

    def __init__(self, name: str, demuxer: str, open: Callable[[], AbstractContextManager[BinaryIO]]) -> None:
        try:
            require("media")
        except InputError as error:
            raise InputError(f"{name}: {error}; or convert it: ffmpeg -i IN OUT.wav") from error
        self.name, self._demuxer, self._open = name, demuxer, open
        with open() as stream:
            if container_is_truncated(stream, demuxer):
                raise InputError(f"{name}: truncated, it ends before its container does; get a complete copy of it")
        with self._track() as (_, track):
            codec = track.codec_context
            self.sample_rate, self.channels = codec.sample_rate, codec.channels
            self.format = f"{demuxer.upper()} {codec.name.upper()}"
            depth = {"s32": "PCM_24", "flt": "FLOAT"}.get(codec.format.name.removesuffix("p"))
            self.subtype = depth if depth and codec.name.startswith(("pcm", "alac", "flac")) else codec.name.upper()

    def count(self) -> int:
        """Samples per channel, by decoding: what containers say is rounded, and leaves out what a decoder drops.

        Raises:
            InputError: damaged.
        """
        return sum(frame.shape[1] for frame in self.frames())

    @contextmanager
    def _track(self) -> Iterator[tuple[Any, Any]]:
        import av

        with self._open() as stream:
            try:
                with av.open(stream, format=self._demuxer, metadata_errors="replace") as container:
                    track = container.streams.best("audio")
                    if track is None or track.codec_context is None:
                        raise InputError(f"{self.name}: without an audio track that can be read")
                    yield container, track
            except (av.FFmpegError, ValueError, EOFError) as error:
                if isinstance(error, InputError):
                    raise
                reason = getattr(error, "strerror", None) or error
                raise InputError(f"{self.name}: damaged, or not audio that can be read ({reason})") from error

    def frames(self) -> Iterator[np.ndarray]:
        """The samples as the decoder gives them, `[C, n]` float32, n of a few thousand."""
        import av

        done, interleave = 0, av.AudioResampler(format="flt")
        with self._track() as (container, track):
            for packet in container.demux(track):
                if packet.is_corrupt:
                    raise InputError(f"{self.name}: damaged or truncated after sample {done}; get another copy of it")
                for frame in packet.decode():
                    facts = frame.sample_rate, frame.layout.nb_channels
                    if not done:  # some decoders know only now
                        self.sample_rate, self.channels = facts
                    if facts != (self.sample_rate, self.channels):
                        raise InputError(f"{self.name}: changes its sample rate or channels after sample {done}")
                    # Interleaved: PyAV reads one plane too many of 8 channels that lie apart, and crashes.
                    for packed in interleave.resample(frame):
                        samples = packed.to_ndarray().reshape(-1, self.channels).T
                        yield check_samples(samples, self.name, done)
                        done += samples.shape[1]
