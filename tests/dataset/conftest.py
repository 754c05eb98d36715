from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from music2latent import EncoderDecoder
from music2latent.dataset.encoding import encode
from music2latent.dataset.formats import FORMATS

from ..helpers import audio_file
from . import inline

RATES = [(44100, 2), (22050, 2), (48000, 2), (44100, 2), (44100, 2), (16000, 2), (44100, 2)]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """What encodes data sets computes in one thread; other tests do not."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def least() -> EncoderDecoder:
    return inline.least()


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
            encode([songs / "songs.csv"], made[key], least, format=format, engine=inline.Inline(), **options)
        return made[key]

    return build


@pytest.fixture(scope="session", params=FORMATS)
def stored(request: pytest.FixtureRequest, build: Callable[..., Path]) -> Path:
    """A data set of each format."""
    return build(request.param)
