from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from music2latent import EncoderDecoder
from music2latent.audio import write_audio

from .helpers import reference_codec, sound


@pytest.fixture(scope="session", autouse=True)
def _no_settings_of_whoever_runs_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The default model is the one that is built in."""
    (path := tmp_path_factory.mktemp("settings") / "config.toml").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MUSIC2LATENT_MODEL", raising=False)
        patch.setenv("MUSIC2LATENT_CONFIG", str(path))
        yield


@pytest.fixture(scope="session")
def tiny() -> EncoderDecoder:
    """A small model with known random weights."""
    return reference_codec("tiny")


@pytest.fixture(scope="session")
def mini() -> EncoderDecoder:
    """The bundled model."""
    return EncoderDecoder(device="cpu", dtype="float32")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of three short files of other rates and channels."""
    for number, (rate, channels) in enumerate([(44100, 2), (22050, 1), (48000, 2)]):
        samples = sound(channels, rate, seed=number)
        write_audio(tmp_path / "data" / f"{number}.flac", [samples], rate, *samples.shape)
    return tmp_path / "data"
