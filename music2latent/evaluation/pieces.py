"""What is coded of which files."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .. import audio
from ..errors import InputError
from ..files import walk

logger = logging.getLogger(__name__)

SHORTEST = 4097
"""Samples: what the longest window of a metric, 8192, can be mirrored into."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What is coded of one file."""

    path: str
    sample_rate: int
    start: int
    num_samples: int
    channels: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.num_samples / self.sample_rate

    def read(self) -> torch.Tensor:
        """The samples, `[C, n]`."""
        return torch.from_numpy(np.ascontiguousarray(audio.read_part(self.path, self.start, self.num_samples)))


@contextmanager
def _left_out(of_a_folder: bool) -> Iterator[None]:
    """A file of a folder that cannot be read is a warning; one that was named, an error."""
    try:
        yield
    except InputError as error:
        if not of_a_folder:
            raise
        logger.warning("left out: %s", error)


def choose(
    inputs: list[Path], *, limit: int | None = None, seconds: float | None = None, min_seconds: float = 0.0
) -> list[Piece]:
    """The pieces to code. Files of a folder that cannot be read are left out, with a warning.

    Raises:
        InputError: nothing there that can be read and is long enough.
    """
    pieces: list[Piece] = []
    for path in inputs:
        found = walk(path, audio.FORMATS) if path.is_dir() else [path]
        sources = []
        for file in found:
            with _left_out(path.is_dir()):
                source = audio.open_audio(file)
                if source.duration >= min_seconds and source.num_samples >= SHORTEST:
                    sources.append((file, source))
        if not sources:
            raise InputError(
                f"{path}: no audio of {min_seconds:g} s and {SHORTEST} samples or more; looked for {audio.FORMATS}"
            )
        count = min(limit or len(sources), len(sources))
        for index in np.linspace(0, len(sources) - 1, count).round().astype(int):
            file, source = sources[index]
            wanted = source.num_samples
            if seconds is not None:
                wanted = min(wanted, round(seconds * source.sample_rate))
            start = (source.num_samples - wanted) // 2
            piece = Piece(
                path=str(file),
                sample_rate=source.sample_rate,
                start=start,
                num_samples=wanted,
                channels=source.channels,
            )
            with _left_out(path.is_dir()):
                piece.read()
                pieces.append(piece)
    if not pieces:
        raise InputError(f"{', '.join(map(str, inputs))}: no file could be read to its end; see the warnings")
    return pieces
