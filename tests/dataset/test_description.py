from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from music2latent import InputError
from music2latent.dataset.description import load, records, summed
from music2latent.dataset.storage import Storage

from .inline import made, sounds, values_of


def test_what_a_data_set_says_of_itself(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [30_000, 40_000, 44_100], channels=2)
    (folder / "bad.wav").write_text("bad")
    description = made([folder], tmp_path / "set")
    assert json.loads((tmp_path / "set/dataset.json").read_text()) == description == load(Storage(tmp_path / "set"))
    assert description["counts"]["inputs"] == 4
    assert description["counts"]["items"] == 3
    assert description["hours"] == pytest.approx(114_100 / 44_100 / 3600)
    assert description["counts"]["bytes"] == sum(path.stat().st_size for path in (tmp_path / "set").glob("*.tar"))
    values = np.concatenate([one.astype(np.float64) for one in values_of(tmp_path / "set").values()], axis=-1)
    assert np.allclose(description["statistics"]["mean"], values.mean((0, 2)))
    assert np.allclose(description["statistics"]["std"], values.std((0, 2)))
    shards = list(records(Storage(tmp_path / "set")))
    assert summed(reversed(shards)) == summed(shards)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged, no JSON"),
        ("[]", "not the description"),
        ('{"format_version": 99}', "version 99, this package knows 1"),
        ('{"format_version": 1}', "model or settings are missing"),
    ],
)
def test_unusable_descriptions(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load(Storage(tmp_path))
