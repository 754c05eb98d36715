"""Many files: failures are said at the end, and do not stop the rest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from music2latent import Latents

from ..helpers import Result, audio_file


def test_folders_are_mirrored_and_one_bad_file_does_not_stop_the_rest(tmp_path: Path, model: str) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.wav", "deep/b.flac", "deep/er/c.ogg"):
        audio_file(folder / name)
    (folder / "deep" / "bad.wav").write_text("not audio")
    (folder / "notes.txt").write_text("not audio either, and nobody said so")
    done = Result("encode", folder, "-m", model, "-o", out)
    assert done.code == 1
    assert "bad.wav: not audio" in done.err
    assert done.err.endswith("\n4 files: 3 done, 1 failed\n")
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == ["a.m2l", "deep/b.m2l", "deep/er/c.m2l"]
    assert Result("decode", out, "-m", model, "-f", "flac").code == 0
    assert (out / "deep" / "er" / "c.decoded.flac").exists()


def test_a_folder_twice(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "in"
    for name in ("a.wav", "b.wav", "c.wav"):
        audio_file(folder / name)
    assert Result("encode", folder, "-m", model).code == 0
    (folder / "bad.wav").write_text("not audio")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.m2l")}
    again = Result("encode", folder, "-m", model)
    assert again.code == 1
    assert [line.split(": ")[0] for line in again.err.splitlines()] == ["error", "error", "4 files"]
    assert f"{folder / 'a.m2l'}: exists already, as 2 more results do; " in again.err
    assert again.err.endswith("4 files: 0 done, 3 exist already, 1 failed\n")
    audio_file(folder / "d.wav")
    skipping = Result("encode", folder, "-m", model, "--skip-existing")
    assert skipping.code == 1
    assert skipping.err.endswith("5 files: 1 done, 3 exist already and were skipped, 1 failed\n")
    (folder / "bad.wav").unlink()
    done = Result("encode", folder, "-m", model, "--skip-existing")
    assert (done.code, done.out, done.err) == (0, "", "4 files: 0 done, 4 exist already and were skipped\n")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_two_inputs_with_one_output(tmp_path: Path, model: str) -> None:
    audio_file(tmp_path / "a.wav")
    audio_file(tmp_path / "a.flac")
    audio_file(tmp_path / "b.wav")
    assert Result("encode", tmp_path, "-m", model, "-o", tmp_path / "out").code == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["a.flac.m2l", "a.wav.m2l", "b.m2l"]
    other = audio_file(tmp_path / "other" / "a.wav")
    done = Result("encode", tmp_path / "a.wav", other, "-m", model, "-o", tmp_path / "both")
    assert done.code == 1
    assert f"{other}: its result would replace that of {tmp_path / 'a.wav'}; rename one of them" in done.err
    assert os.listdir(tmp_path / "both") == ["a.wav.m2l"]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    song, write = audio_file(tmp_path / "a.wav"), Latents.save

    def save(latents: Latents, path: Path, **options: Any) -> None:
        path.write_text("precious")
        write(latents, path, **options)

    monkeypatch.setattr(Latents, "save", save)
    done = Result("encode", song, "-m", model)
    assert done.code == 1
    assert "written by another program meanwhile" in done.err
    assert (tmp_path / "a.m2l").read_text() == "precious"


def test_several_files_at_a_time(tmp_path: Path, model: str) -> None:
    for number in range(3):
        audio_file(tmp_path / "in" / f"{number}.wav", samples=9000 + number)
    (tmp_path / "in" / "bad.wav").write_text("not audio")
    # 16 bits move random weights, and depend on the batch
    options = ("-m", model, "--dtype", "float32", "--save-dtype", "float32")
    done = Result("encode", tmp_path / "in", "-o", tmp_path / "out", *options, "--batch-size", 2)
    assert done.code == 1
    assert done.err.count("error:") == 1
    assert "bad.wav" in done.err
    assert Result("encode", tmp_path / "in", "-o", tmp_path / "one", *options).code == 1
    for number in range(3):
        together, alone = (Latents.load(tmp_path / folder / f"{number}.m2l") for folder in ("out", "one"))
        assert together.num_samples == 9000 + number
        assert torch.allclose(together.values, alone.values, atol=2e-3)
