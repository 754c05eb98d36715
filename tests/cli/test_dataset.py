from __future__ import annotations

from pathlib import Path

import pytest

from music2latent.checkpoint import write_safetensors
from music2latent.dataset.engines.local import Local

from ..dataset.inline import Inline, sounds
from ..helpers import Result, least_checkpoint


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model, and no other processes."""
    write_safetensors(tmp_path / "least.safetensors", least_checkpoint())
    monkeypatch.setattr(Local, "__call__", lambda self, *arguments: Inline()(*arguments))
    return tmp_path / "least.safetensors"


def _encode(*arguments: object) -> Result:
    return Result("dataset", "encode", *arguments, "--device", "cpu", "--dtype", "float32", "--shard-size", 0.001)


def test_encode_verify_info(model: Path, tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [3000, 4000])
    (folder / "bad.wav").write_text("bad")
    done = _encode(folder, "-o", tmp_path / "set", "--model", model)
    assert done.code == 0
    assert done.out == f"{tmp_path}/set: 3 shards, 2 items, 0.00 h, 0.0 MB, 1 failures\n"
    assert done.err == "warning: 1 of 3 inputs failed; failures.jsonl says why\n"
    done = Result("dataset", "verify", tmp_path / "set", "--inputs", folder)
    assert (done.code, done.out, done.err) == (0, f"{tmp_path}/set: whole\n", "")
    shown = Result("dataset", "info", tmp_path / "set").out
    assert "model_id       least\n" in shown
    (tmp_path / "set/latents-000001.tar").unlink()
    done = Result("dataset", "verify", tmp_path / "set")
    assert done.code == 1
    assert done.err.splitlines() == [
        "error: latents-000001.tar: missing",
        "error: shard 1: not whole",
        f"error: {tmp_path}/set: 2 problems",
    ]


def test_parts_and_merge(model: Path, tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", range(2000, 2006))
    for part in ("1/2", "2/2"):
        assert _encode(folder, "-o", tmp_path / "set", "--model", model, "--part", part).code == 0
    done = Result("dataset", "merge", tmp_path / "set", "-o", tmp_path / "whole")
    assert " 6 items," in done.out
    assert Result("dataset", "verify", tmp_path / "whole", "--quick").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--part", "x"], "--part x: expected K/N, as in 3/16"),
        (["--engine", "slurm"], "--engine slurm: accepted are local, ray"),
        (["--address", "auto"], "--address is of a Ray cluster; add --engine ray"),
        (["--format", "zip"], "accepted: webdataset, parquet, m2l, stable-audio-tools"),
    ],
)
def test_refused(model: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    folder = sounds(tmp_path / "audio", [3000])
    done = _encode(folder, "-o", tmp_path / "set", "--model", model, *arguments)
    assert done.code == 1
    assert message in done.err
    assert not (tmp_path / "set").exists()


def test_no_data_set(tmp_path: Path) -> None:
    for verb in ("verify", "info"):
        done = Result("dataset", verb, tmp_path)
        assert (done.code, done.err) == (1, f"error: {tmp_path}: no data set, it has no dataset.json\n")


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from music2latent import extras

    monkeypatch.setitem(extras.EXTRAS, "dataset", ("no_such_package",))
    for verb in (["encode", "x", "-o", "y"], ["verify", "x"], ["info", "x"], ["merge", "x", "-o", "y"]):
        done = Result("dataset", *verb)
        assert (done.code, done.err) == (
            1,
            "error: no_such_package not installed; run: pip install 'music2latent[dataset]'\n",
        )
