from __future__ import annotations

from pathlib import Path

import pytest

from music2latent.audio import write_audio

from ..helpers import sound


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number, (rate, channels) in enumerate([(44100, 2), (22050, 1), (48000, 2)]):
        samples = sound(channels, rate, seed=number)
        write_audio(tmp_path / "data" / f"{number}.flac", [samples], rate, *samples.shape)
    return tmp_path / "data"
