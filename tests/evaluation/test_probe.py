"""`probe`: what a linear classifier finds, and that groups stay apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from music2latent import EncoderDecoder
from music2latent.errors import InputError
from music2latent.evaluation.probe import linear_probe, probe, read_tasks, table

from ..helpers import Result

RATE = 44100


def _tone(path: Path, hertz: float, seed: int) -> None:
    t = np.arange(RATE // 2) / RATE
    noise = np.random.default_rng(seed).normal(size=len(t))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * t) + 0.01 * noise, RATE)


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    for name, hertz in (("low", 200), ("high", 5000)):
        for number in range(8):
            _tone(
                tmp_path / "tones" / name / f"take{number % 4}" / f"{number}.wav", hertz * (1 + 0.02 * number), number
            )
    return tmp_path / "tones"


def test_finds_what_is_easy_and_writes_the_table(tones: Path, tmp_path: Path) -> None:
    done = Result("probe", tones, "--output", tmp_path / "out", "--folds", 4)
    assert done.code == 0, done.err
    rows = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert [row["representation"] for row in rows] == ["latents", "features", "log-mel"]
    assert [row["numbers"] for row in rows] == [128, 12288, 128]
    for row in rows:
        assert (row["files"], row["classes"], row["folds"], row["guessing"]) == (16, 2, 4, 0.5)
        assert row["accuracy"] == 1
    assert "| tones | class | 16 | 2 | 50.0% | 100.0% ± 0.0% |" in (tmp_path / "out" / "probe.md").read_text()
    assert Result("probe", tones, "--output", tmp_path / "out").code == 1, "a table is there already"


def test_a_group_is_never_in_training_and_test() -> None:
    """The vectors tell the group and nothing of the class within it: only a split across groups can't be fooled."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(40), 10)
    classes = rng.integers(2, size=40)[groups]
    vectors = rng.normal(size=(40, 64))[groups] + 0.01 * rng.normal(size=(400, 64))
    honest = linear_probe(vectors, classes, groups, 5)["accuracy"]
    fooled = linear_probe(vectors, classes, np.arange(400), 5)["accuracy"]
    assert fooled > 0.95
    assert honest < 0.75


def test_long_vectors_are_reduced_and_still_probed() -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(120) % 3
    vectors = rng.normal(size=(120, 2000)) + 2 * np.eye(3)[classes] @ rng.normal(size=(3, 2000))
    assert linear_probe(vectors, classes, np.arange(120), 4)["accuracy"] == 1


def test_labels_may_come_from_a_table(tmp_path: Path) -> None:
    rows = ["path,note,family,family.group", "a.wav,C,flute,1", "b.wav,D,,", "c.wav,C,organ,2"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    note, family = read_tasks(tmp_path)
    assert (note.name, note.classes, note.groups) == ("note", ("C", "D", "C"), ("a.wav", "b.wav", "c.wav"))
    assert (family.classes, family.groups) == (("flute", "organ"), ("1", "2")), "files without a label are left out"
    assert family.paths == (tmp_path / "a.wav", tmp_path / "c.wav")


def test_refuses_what_cannot_be_probed(tones: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"class: 1 classes; a probe needs two"):
        read_tasks(_only(tmp_path / "one"))
    _tone(tones / "stray.wav", 400, 0)
    with pytest.raises(InputError, match="audio outside of class folders"):
        read_tasks(tones)
    (tmp_path / "labels.csv").write_text("file,class\n")
    with pytest.raises(InputError, match="expected the columns path, TASK"):
        read_tasks(tmp_path)


def test_a_class_of_one_group_cannot_be_cross_validated(tmp_path: Path, tiny: EncoderDecoder) -> None:
    """It would be in training or in test, never in both."""
    for name in ("one", "two"):
        for number in range(4):
            _tone(tmp_path / name / "wav" / f"{number}.wav", 300, number)
    with pytest.raises(InputError, match="class: all files of class one are of one group"):
        probe([tmp_path], tiny, folds=2, progress=lambda *_: None)


def _only(folder: Path) -> Path:
    _tone(folder / "single" / "a.wav", 300, 0)
    return folder


def test_the_table_has_a_line_per_task() -> None:
    common = {"data": "d", "files": 4, "classes": 2, "numbers": 8, "accuracy": 0.5, "std_over_folds": 0.1}
    rows = [
        {**common, "task": task, "representation": name, "guessing": 0.25}
        for task in ("one", "two")
        for name in ("latents", "log-mel")
    ]
    lines = table(rows).splitlines()
    assert lines[0].endswith("| latents (8) | log-mel (8) |")
    assert [line.split(" | ")[1] for line in lines[2:]] == ["one", "two"]
