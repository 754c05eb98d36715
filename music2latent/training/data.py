"""Random crops from folders of audio: which crop number i is follows from (seed, i) alone.

So a resumed run draws what the straight run would have drawn, with any number of workers and processes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import reprlib
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..audio import FORMATS, open_audio, read_part
from ..errors import InputError
from ..files import replacing, walk
from ..resampling import resample, resample_array

logger = logging.getLogger(__name__)

REDRAWS = 200
"""Crops that may be silent or unreadable in a row before the data is given up."""
READ_AHEAD = 4
"""Batches that are read before they are needed."""
PLAYS_TO = 4096
"""Samples before its end by which a file must be readable; an MP3's length is an estimate, to two blocks of 1152."""
CACHED = ".int16"
"""Suffix of files that `cache_audio` writes: samples and nothing else."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """One readable file."""

    path: str
    sample_rate: int
    channels: int
    num_samples: int


@dataclass(frozen=True, kw_only=True)
class AudioFolder:
    """A folder's readable files, and how often crops come from it, relative to other folders."""

    folder: str
    weight: float
    tracks: tuple[Track, ...]
    unreadable: tuple[str, ...]

    @property
    def hours(self) -> float:
        """Audio in all."""
        return sum(track.num_samples / track.sample_rate for track in self.tracks) / 3600


def parse_folder(text: str) -> tuple[Path, float]:
    """`FOLDER` or `FOLDER=WEIGHT`.

    Raises:
        InputError: a weight that is not a positive number.
    """
    folder, found, weight = text.rpartition("=")
    if not found or Path(text).is_dir():
        return Path(text), 1.0
    try:
        value = float(weight)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise InputError(f"--data {text}: the weight after '=' must be a positive number")
    return Path(folder), value


def index_folder(folder: Path, weight: float, cache: Path, say: Callable[[str], None] = logger.info) -> AudioFolder:
    """Look into every audio file below a folder; facts of files that have not changed come from the cache folder.

    Files that cannot be read are left out, with a warning. `say` is told how many there are to look into.

    Raises:
        InputError: not a folder, no audio in it, none that is readable, or a broken index in the cache folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of audio")
    paths = list(walk(folder, FORMATS))
    if not paths:
        raise InputError(f"{folder}: no audio files; looked for {' '.join(FORMATS)}")
    store = cache / f"index-{hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]}.json"
    known = _read_index(store)
    say(f"{folder}: looking into {len(paths)} audio files")
    facts = {}
    for path in paths:
        status = path.stat()
        key = f"{path.relative_to(folder)}|{status.st_size}|{status.st_mtime_ns}"
        facts[key] = known.get(key) or _look(path)
    if facts != known:
        with replacing(store) as partial:
            partial.write_text(json.dumps(facts))
    tracks = tuple(
        Track(path=str(path), sample_rate=fact[0], channels=fact[1], num_samples=fact[2])
        for path, fact in zip(paths, facts.values(), strict=True)
        if isinstance(fact, list)
    )
    unreadable = tuple(fact for fact in facts.values() if isinstance(fact, str))
    _say_what_is_left_out(folder, unreadable, len(paths))
    if not tracks:
        raise InputError(f"{folder}: none of {len(paths)} audio files can be read; the first: {unreadable[0]}")
    return AudioFolder(folder=str(folder), weight=weight, tracks=tracks, unreadable=unreadable)


def _say_what_is_left_out(folder: str | Path, reasons: tuple[str, ...], total: int) -> None:
    if reasons:
        shown = "\n  ".join(reasons[:20])
        logger.warning("%s: %d of %d files left out:\n  %s", folder, len(reasons), total, shown)


def _read_index(store: Path) -> dict[str, list[int] | str]:
    """What an earlier run found: of every file rate, channels and length, or why it cannot be read."""

    def is_fact(fact: Any) -> bool:
        return isinstance(fact, str) or (
            isinstance(fact, list) and len(fact) == 3 and all(type(n) is int and 0 < n < 2**63 for n in fact)
        )

    try:
        known = json.loads(store.read_bytes()) if store.exists() else {}
        if isinstance(known, dict) and all(map(is_fact, known.values())):
            return known
        reason = f"holds {reprlib.repr(known)}"
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error)
    raise InputError(f"{store}: not an index of audio files ({reason}); delete it, and it is made anew")


def _look(path: Path) -> list[int] | str:
    """Rate, channels and length of a file, or why it cannot be read."""
    try:
        source = open_audio(path)
        read_part(path, max(0, source.num_samples - PLAYS_TO), 1)  # headers promise what the file does not hold
    except InputError as error:
        return str(error)
    return [source.sample_rate, source.channels, source.num_samples]


class Crops:
    """Crop number i, `[n]` float32: one random channel of a random file, anywhere in it, not silent."""

    def __init__(
        self, folders: Sequence[AudioFolder], sample_rate: int, num_samples: int, *, seed: int, min_rms: float
    ) -> None:
        self.sample_rate, self.num_samples, self.seed, self.min_rms = sample_rate, num_samples, seed, min_rms
        self._warned: set[str] = set()
        self.folders = []
        for folder in folders:
            tracks = [track for track in folder.tracks if self._needed(track) <= track.num_samples]
            if not tracks:
                raise InputError(
                    f"{folder.folder}: every file is shorter than a crop of {num_samples / sample_rate:.2f} s; "
                    "set crop_columns lower, or add longer files"
                )
            # A file's chance is its length, so that every moment is equally likely.
            places = np.array([track.num_samples / track.sample_rate for track in tracks])
            self.folders.append((folder.weight, tracks, np.cumsum(places / places.sum())))
        weights = np.array([weight for weight, _, _ in self.folders])
        self.chances = np.cumsum(weights / weights.sum())

    def _needed(self, track: Track) -> int:
        """Samples at the file's own rate that give a crop, with a few more for the resampler's edges."""
        if track.sample_rate == self.sample_rate:
            return self.num_samples
        return -(-self.num_samples * track.sample_rate // self.sample_rate) + 64

    def __getitem__(self, index: int) -> Tensor:
        rng, reason = np.random.default_rng((self.seed, index)), f"silent (RMS below {self.min_rms})"
        for _ in range(REDRAWS):
            _, tracks, chances = self.folders[int(np.searchsorted(self.chances, rng.random(), side="right"))]
            track = tracks[int(np.searchsorted(chances, rng.random(), side="right"))]
            needed = self._needed(track)
            start = int(rng.integers(track.num_samples - needed + 1))
            channel = int(rng.integers(track.channels))
            try:
                crop = self._read(track, start, needed, channel)
            except InputError as error:
                reason = str(error)
                if track.path not in self._warned:
                    self._warned.add(track.path)
                    logger.warning("a crop could not be read, another is drawn: %s", error)
                continue
            if np.sqrt(np.square(crop, dtype=np.float64).mean()) >= self.min_rms:
                return torch.from_numpy(crop)
        raise InputError(f"{REDRAWS} crops in a row were silent or unreadable; check the data. The last: {reason}")

    def _read(self, track: Track, start: int, needed: int, channel: int) -> np.ndarray:
        if track.path.endswith(CACHED):
            return _mapped(track)[start : start + needed, channel].astype(np.float32) / 32768
        block = read_part(track.path, start, needed)[channel]
        if track.sample_rate == self.sample_rate:
            return np.ascontiguousarray(block)
        out = resample_array(block, track.sample_rate, self.sample_rate)
        skip = (len(out) - self.num_samples) // 2
        return np.ascontiguousarray(out[skip : skip + self.num_samples])


def crop_order(first: int, batch: int, rank: int, world: int) -> Iterator[int]:
    """Crop numbers from `first` on for one of `world` processes, whose batches take turns, without an end."""
    for start in count(first + rank * batch, world * batch):
        yield from range(start, start + batch)


def read_batches(crops: Crops, order: Iterator[int], size: int, workers: int) -> Generator[Tensor]:
    """Batches `[size, n]` of crops in this order, without an end; `workers` threads read ahead. Close it when done.

    Threads, because files are decoded and resampled in C: other processes would have to be told of signals, would
    have to be waited for, and could die by themselves.
    """
    if not workers:
        while True:
            yield torch.stack([crops[number] for number in islice(order, size)])
    with ThreadPoolExecutor(workers) as pool:
        asked = deque(pool.submit(crops.__getitem__, number) for number in islice(order, READ_AHEAD * size))
        try:
            while True:
                yield torch.stack([asked.popleft().result() for _ in range(size)])
                asked.extend(pool.submit(crops.__getitem__, number) for number in islice(order, size))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def cache_audio(folder: AudioFolder, sample_rate: int, cache: Path) -> AudioFolder:
    """Read and resample a folder's files once, to files of int16 samples that are mapped into memory: for slow
    processors. A rerun goes on where an earlier one stopped. Files that are damaged inside are left out, with a
    warning.

    Raises:
        InputError: a place that cannot be written, or no file that can be read to its end.
    """
    tracks, damaged = [], []
    for track in folder.tracks:
        facts = (asdict(track), sample_rate, Path(track.path).stat().st_mtime_ns)
        name = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        target = cache / f"{name}{CACHED}"
        if not target.exists():
            try:
                blocks = resample(open_audio(track.path).blocks(), track.channels, track.sample_rate, sample_rate)
                with replacing(target) as partial, partial.open("wb") as file:
                    for block in blocks:
                        file.write((block.T * 32768).round().clip(-32768, 32767).astype("<i2").tobytes())
            except InputError as error:
                if isinstance(error.__cause__, OSError):  # the cache cannot be written
                    raise
                damaged.append(str(error))
                continue
        num_samples = target.stat().st_size // (2 * track.channels)
        tracks.append(replace(track, path=os.fspath(target), sample_rate=sample_rate, num_samples=num_samples))
    _say_what_is_left_out(folder.folder, tuple(damaged), len(folder.tracks))
    if not tracks:
        raise InputError(f"{folder.folder}: none of its files can be read to its end; the first: {damaged[0]}")
    return replace(folder, tracks=tuple(tracks), unreadable=(*folder.unreadable, *damaged))


def _mapped(track: Track) -> np.ndarray:
    """What `cache_audio` wrote, `[n, C]` int16, mapped into memory: only what is looked at is read."""
    return np.memmap(track.path, "<i2", "r", shape=(track.num_samples, track.channels))
