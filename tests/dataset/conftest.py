from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from music2latent import EncoderDecoder
from music2latent.dataset.encode import encode
from music2latent.dataset.engines import Job
from music2latent.dataset.formats import FORMATS
from music2latent.dataset.inputs import Input
from music2latent.dataset.reading import Part, reader
from music2latent.dataset.shards import shard_maker

from ..helpers import audio_file, least_checkpoint

RATES = [(44100, 2), (22050, 2), (48000, 2), (44100, 2), (44100, 2), (16000, 2), (44100, 2)]


class _ReadHere:
    """`Readers` without processes."""

    def __init__(self, rate: int) -> None:
        self._read = reader(rate, None)

    def read(self, inputs: Iterable[Input]) -> Generator[tuple[int, Part | None]]:
        for number, one in enumerate(inputs):
            yield from ((number, part) for part in self._read(one))
            yield number, None


def encode_here(shards: Iterator[int], job: Job, progress: Callable[[float], None]) -> None:
    """An engine without processes, which take seconds to start."""
    threads = torch.get_num_threads()
    try:
        make = shard_maker(job.storage, job.codec("cpu"), job.settings, _ReadHere(job.settings.coding_rate))  # type: ignore[arg-type]
        for shard in shards:
            for seconds in make(shard):
                progress(seconds)
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def least() -> EncoderDecoder:
    return EncoderDecoder(model=least_checkpoint(), device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of stereo files of other lengths and rates, and a manifest with metadata."""
    folder = tmp_path_factory.mktemp("songs")
    rows = ["path,caption,tempo"]
    for number, (rate, channels) in enumerate(RATES):
        audio_file(folder / "deep" / f"{number}.flac", channels, 400 + 170 * number, rate)
        rows.append(f"deep/{number}.flac,song {number},{100 + number}")
    (folder / "songs.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="session")
def build(songs: Path, least: EncoderDecoder, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a data set of the songs; of the same arguments once."""
    made: dict[str, Path] = {}

    def build(format: str = "webdataset", **options: Any) -> Path:
        key = f"{format} {options}"
        if key not in made:
            made[key] = tmp_path_factory.mktemp("set") / "set"
            options = {"shard_size": 0.001} | options
            encode([songs / "songs.csv"], made[key], least, format=format, engine=encode_here, **options)
        return made[key]

    return build


@pytest.fixture(scope="session", params=FORMATS)
def stored(request: pytest.FixtureRequest, build: Callable[..., Path]) -> Path:
    """A data set of each format."""
    return build(request.param)
