"""train and export-weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..helpers import Result
from ..training.small import train_command


def test_command_line(data: Path, tmp_path: Path) -> None:
    arguments = train_command(data, tmp_path / "run")[2:]
    done = Result(*arguments, "--cache", tmp_path / "cache", "--max-minutes", "0")
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path / 'run'}: at iteration 1 of 6\n"
    assert len(list((tmp_path / "cache").iterdir())) == 3
    assert f"music2latent export-weights {tmp_path / 'run'} MODEL.safetensors" in done.err
    assert Result("train", "tiny").code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("tiny", "--set", "lrr=1", "--dry-run"), "unknown key 'lrr'"),
        (("small", "--dry-run"), "small: no such recipe; accepted: finetune, mini, official, tiny"),
        (("tiny", "--data", "no", "-o", "r"), "no: no such folder of audio"),
        (("tiny", "--data", "examples=nan", "-o", "r"), "must be a positive number"),
        (("tiny", "--data", "no", "-o", "r", "--max-minutes", "nan"), "max_minutes = nan; accepted: 0 or more"),
        (("tiny", "--data", "no", "-o", "r", "--init-from", "nothing"), "unknown model 'nothing'"),
    ],
)
def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    refused = Result("train", *options)
    assert (refused.code, len(refused.err.splitlines())) == (1, 1)
    assert message in refused.err
    assert not list(tmp_path.rglob("*.pt"))
