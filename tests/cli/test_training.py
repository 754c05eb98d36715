"""train and export-weights."""

from __future__ import annotations

from pathlib import Path

from ..helpers import ROOT, Result
from ..training.small import train_command


def test_command_line(data: Path, tmp_path: Path) -> None:
    arguments = train_command(data, tmp_path / "run")[2:]
    done = Result(*arguments, "--cache", tmp_path / "cache", "--max-minutes", "0")
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path / 'run'}: at iteration 1 of 6\n"
    assert len(list((tmp_path / "cache").iterdir())) == 3
    assert Result("train", ROOT / "configs" / "tiny.toml").code == 2
    typo = Result("train", ROOT / "configs" / "tiny.toml", "--set", "lrr=1", "--dry-run")
    assert (typo.code, len(typo.err.splitlines())) == (1, 1)
    empty = Result("train", ROOT / "configs" / "tiny.toml", "--data", tmp_path / "no", "-o", tmp_path / "r")
    assert "no such folder of audio" in empty.err
