from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from music2latent import InputError
from music2latent.dataset.formats import FORMATS
from music2latent.dataset.merging import merge

from .inline import Inline, Killed, made, problems, sounds, values_of


@pytest.mark.parametrize("format", FORMATS)
def test_parts_make_the_whole(tmp_path: Path, format: str) -> None:
    folder = sounds(tmp_path / "audio", range(2000, 2012))
    shutil.copy(folder / "003.wav", folder / "003.aiff")  # its name is made unique, in the same part
    straight = made([folder], tmp_path / "straight", format=format)
    for number in range(1, 5):
        made([folder], tmp_path / "set", format=format, part=(number, 4))
    joined = merge([str(tmp_path / "set")], str(tmp_path / "set"))
    assert problems(tmp_path / "set", inputs=[str(folder)]) == []
    assert joined["statistics"] == straight["statistics"]  # to the last bit, in whatever order
    assert joined["counts"]["inputs"] == straight["counts"]["inputs"] == 13
    found, expected = values_of(tmp_path / "set"), values_of(tmp_path / "straight")
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in found)


def test_what_does_not_belong_together(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [2000, 2500, 3000])
    made([folder], tmp_path / "a")
    made([folder / "000.wav"], tmp_path / "b")
    made([folder], tmp_path / "c", format="parquet")
    cases = [
        (["a", "b"], "only disjoint data sets"),
        (["a", "c"], "another settings"),
        (["audio"], "no data set, and no folder of parts"),
        (["a"], "a whole data set already"),
    ]
    for names, message in cases:
        with pytest.raises(InputError, match=message):
            merge([str(tmp_path / name) for name in names], str(tmp_path / ("a" if names == ["a"] else "out")))
        shutil.rmtree(tmp_path / "out", ignore_errors=True)


def test_parts_that_are_missing_or_not_whole(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [2000] * 8)
    made([folder], tmp_path / "set", part=(1, 3))
    with pytest.raises(InputError, match="parts 2, 3 of 3 are missing"):
        merge([str(tmp_path / "set")], str(tmp_path / "out"))
    made([folder], tmp_path / "set", part=(2, 3))
    with pytest.raises(Killed):
        made([folder], tmp_path / "set", Inline(kill_after=1), part=(3, 3))
    with pytest.raises(InputError, match="not whole; run its encode command again"):
        merge([str(tmp_path / "set")], str(tmp_path / "out"))
    made([folder], tmp_path / "set", part=(3, 3))
    assert merge([str(tmp_path / "set")], str(tmp_path / "out"))["counts"]["items"] == 8
