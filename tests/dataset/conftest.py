from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from music2latent import EncoderDecoder
from music2latent.dataset import reading
from music2latent.dataset.encode import encode
from music2latent.dataset.engines import local
from music2latent.dataset.formats import FORMATS

from ..helpers import audio_file, least_checkpoint

RATES = [(44100, 2), (22050, 2), (48000, 2), (44100, 2), (44100, 2), (16000, 2), (44100, 2)]


class _Here:
    """`Isolated` without a process, which takes seconds to start."""

    def __init__(self, make: Callable[..., Any], *arguments: Any, **_: Any) -> None:
        self._function = make(*arguments)

    def __call__(self, one: Any) -> Iterator[Any]:
        return self._function(one)

    def close(self) -> None:
        pass


def encode_here(shards: Iterator[int], job: Any, progress: Callable[[float], None]) -> None:
    """The local engine in this process."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "Isolated", _Here)
        make = local._worker(job, "cpu", 1)
        for shard in shards:
            for seconds in make(shard):
                progress(seconds)
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
