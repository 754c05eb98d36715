"""Inputs -> audio at the model's rate, in processes of their own, several at a time."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from queue import Queue, SimpleQueue
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, BinaryIO

import numpy as np

from ..audio import open_audio
from ..errors import InputError
from ..opening import is_url
from ..resampling import resample
from .inputs import Input
from .isolation import Isolated
from .storage import again, open_filesystem

BLOCKS_AHEAD = 4
"""Blocks of three seconds that are kept of each input that is being read."""

_CHUNK = 1 << 22  # bytes copied at a time


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What was found when an input was opened."""

    hash: str
    """SHA-256 of its bytes."""
    size: int
    sample_rate: int
    channels: int
    num_samples: int


@dataclass(frozen=True)
class Failure:
    """Why an input cannot be encoded."""

    reason: str


Part = Facts | np.ndarray | Failure
"""Of an input: its facts, then blocks `[C, n]`; a failure may come at any time, and ends it."""


def reader(rate: int, options: dict[str, Any] | None) -> Callable[[Input], Iterator[Part]]:
    """The function that reads an input, resampled to a rate; for `Isolated`."""

    def read(one: Input) -> Iterator[Part]:
        with _fetched(one, options) as path:
            with path.open("rb") as file:
                digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
            if not size:
                raise InputError("an empty file")
            try:
                source = open_audio(path)
                yield Facts(
                    hash=digest,
                    size=size,
                    sample_rate=source.sample_rate,
                    channels=source.channels,
                    num_samples=source.num_samples,
                )
                yield from resample(source.blocks(), source.channels, source.sample_rate, rate)
            except InputError as error:  # messages name the input, not our copy of it
                raise InputError(str(error).replace(f"{path}: ", "").replace(str(path), one.source)) from error

    return read


def content_hash(one: Input, options: dict[str, Any] | None) -> str:
    """SHA-256 of an input's bytes; empty where they cannot be read."""
    try:
        with _fetched(one, options) as path, path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (InputError, OSError):
        return ""


@contextmanager
def _fetched(one: Input, options: dict[str, Any] | None) -> Iterator[Path]:
    """The input as a file of this machine: itself, or a copy that is removed."""
    if one.offset is None and one.row is None and not is_url(one.path):
        if not os.path.exists(one.path):
            raise InputError("no such file")
        yield Path(one.path)
        return
    with TemporaryDirectory(prefix="music2latent-") as folder:
        copy = Path(folder, f"input{one.suffix}")
        try:
            again(one.path, lambda: _copy(one, options, copy))
        except FileNotFoundError as error:
            raise InputError("no such file") from error
        yield copy


def _copy(one: Input, options: dict[str, Any] | None, target: Path) -> None:
    if one.row is not None:
        group, number, column = one.row
        target.write_bytes(_row_group(one.path, one.etag, group, column)[number] or b"")
        return
    fs, path = open_filesystem(one.path, options)
    with fs.open(path, "rb") as stream, target.open("wb") as copy:
        if one.offset is None:
            shutil.copyfileobj(stream, copy, _CHUNK)
            found = fs.info(path).get("size")
            if found is not None and copy.tell() != found:
                raise OSError(f"{copy.tell()} of {found} bytes came")
        else:
            stream.seek(one.offset)
            _copy_some(stream, copy, one.size or 0)


def _copy_some(stream: BinaryIO, copy: BinaryIO, left: int) -> None:
    while left:
        block = stream.read(min(left, _CHUNK))
        if not block:
            raise InputError("truncated: its tar ends before it does")
        copy.write(block)
        left -= len(block)


@lru_cache(1)
def _row_group(path: str, etag: str | None, group: int, column: str) -> list[bytes | None]:
    """Bytes of all audio in one group of a table's rows; the etag only keys the cache."""
    import pyarrow.parquet as pq

    fs, inner = open_filesystem(path)
    with fs.open(inner, "rb") as file, pq.ParquetFile(file) as table:
        rows = table.read_row_group(group, columns=[f"{column}.bytes"])
    return [(row[column] or {}).get("bytes") for row in rows.to_pylist()]


class Readers:
    """Processes that read, several inputs at a time and each some seconds ahead; parts come in the order of the inputs.

    An input that ends its process is tried once more; then it is a failure. So is one that cannot be read.
    """

    def __init__(self, count: int, rate: int, options: dict[str, Any] | None) -> None:
        self._free: SimpleQueue[Isolated] = SimpleQueue()
        self._count = count
        for _ in range(count):
            self._free.put(Isolated(reader, rate, options, daemon=True))

    def read(self, inputs: Iterable[Input]) -> Generator[tuple[int, Part | None]]:
        """(number of the input, part) of all inputs, None after the last part of each."""
        stop, begun, numbered = Event(), deque[tuple[int, Queue[Part | None]]](), enumerate(inputs)

        def begin() -> None:
            for number, one in islice(numbered, 1):
                parts: Queue[Part | None] = Queue(BLOCKS_AHEAD)
                Thread(target=self._run, args=(one, parts, stop), daemon=True).start()
                begun.append((number, parts))

        try:
            for _ in range(self._count + 1):
                begin()
            while begun:
                number, parts = begun[0]
                while (part := parts.get()) is not None:
                    yield number, part
                yield number, None
                begun.popleft()
                begin()
        finally:
            stop.set()
            for _, parts in begun:  # a thread that waits for room goes on, and sees it
                while not parts.empty():
                    parts.get()

    def _run(self, one: Input, parts: Queue[Part | None], stop: Event) -> None:
        process = self._free.get()
        try:
            if not stop.is_set():
                self._read_one(process, one, parts, stop)
        finally:
            self._free.put(process)
            parts.put(None)

    def _read_one(self, process: Isolated, one: Input, parts: Queue[Part | None], stop: Event) -> None:
        if one.problem:
            parts.put(Failure(one.problem))
            return
        sent = 0
        for attempt in (1, 2):
            try:
                for part in islice(process(one), sent, None):  # the second time it reads the same
                    parts.put(part)
                    sent += 1
                    if stop.is_set():
                        return
                return
            except InputError as error:
                parts.put(Failure(str(error)))
                return
            except Exception as error:  # it died, or could not be started
                if attempt == 2:
                    parts.put(Failure(f"reading it failed twice: {error}"))

    def close(self) -> None:
        """End the processes."""
        for _ in range(self._count):
            self._free.get().close()
