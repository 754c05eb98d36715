"""Data sets made in this process, by a small model, and what is compared of them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from music2latent import EncoderDecoder
from music2latent.audio import write_audio
from music2latent.dataset.encoding import encode
from music2latent.dataset.inputs import Input
from music2latent.dataset.reading import Failure, Part, Readers, reader
from music2latent.dataset.shards import Job, shard_maker
from music2latent.dataset.storage import Storage
from music2latent.dataset.verification import verify
from music2latent.errors import InputError

from ..helpers import least_checkpoint, noise

SMALL: dict[str, Any] = {"shard_size": 0.001}
"""A shard for every half second of the small model's sound."""


@cache
def least() -> EncoderDecoder:
    return EncoderDecoder(model=least_checkpoint(), device="cpu", dtype="float32")


class Killed(BaseException):
    """What a kill is to a process."""


@dataclass
class InlineReaders:
    """`Readers` without processes."""

    job: Job

    def read(self, inputs: Iterable[Input]) -> Generator[tuple[int, Part | None]]:
        read = reader(self.job.settings.coding_rate, self.job.options)
        for number, one in enumerate(inputs):
            if one.problem:
                yield number, Failure(one.problem)
            else:
                try:
                    for part in read(one):
                        yield number, part
                except InputError as error:
                    yield number, Failure(str(error))
            yield number, None


@dataclass
class Inline:
    """The engine: this process. It is killed after so many events, and counts them."""

    kill_after: int | None = None
    events: int = 0
    made: int = 0

    def __call__(self, shards: Iterator[int], job: Job, progress: Callable[[float], None]) -> None:
        threads = torch.get_num_threads()
        make = shard_maker(job, job.mapper("cpu"), cast(Readers, InlineReaders(job)))
        try:
            for shard in shards:
                self.made += 1
                for seconds in make(shard):
                    progress(seconds)
                    self.events += 1
                    if self.events == self.kill_after:
                        raise Killed
        finally:
            torch.set_num_threads(threads)


def made(inputs: Iterable[Path | str], output: Path | str, engine: Inline | None = None, **settings: Any) -> Any:
    """A data set's description."""
    return encode(list(inputs), output, least(), engine=engine or Inline(), **{**SMALL, **settings})


def sounds(folder: Path, lengths: Iterable[int], rate: int = 44100, channels: int = 1) -> Path:
    """A folder of files of noise, each another."""
    for number, samples in enumerate(lengths):
        path = folder / f"{number:03d}.wav"
        write_audio(path, [noise(channels, samples, seed=number + samples)], rate, channels, samples)
    return folder


def tree(folder: Path, *, without: tuple[str, ...] = (".dataset/lock",)) -> dict[str, bytes]:
    """Every file below a folder but the lock."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name not in without}


def problems(folder: Path | str, **options: Any) -> list[str]:
    return list(verify(folder, **options))


def values_of(folder: Path) -> dict[str, np.ndarray]:
    """All items of a data set by their sources."""
    from music2latent.dataset.description import load, records
    from music2latent.dataset.formats import FORMATS

    storage = Storage(folder)
    format = FORMATS[load(storage)["settings"]["format"]]()
    items = [item for record in records(storage) for item in format.read_all(storage, record["items"])]
    return {f"{item.facts['source']} {item.facts['seconds_start']:.3f}": item.values for item in items}
