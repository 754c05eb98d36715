"""Which files are read, and where results go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from music2latent import Latents

from ..helpers import Result, audio_file, check_refused, posix


def test_several_files(tmp_path: Path, model: str) -> None:
    files = [audio_file(tmp_path / "a.wav"), audio_file(tmp_path / "b.wav")]
    assert Result("encode", *files, "-m", model, "-o", tmp_path / "out").code == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["a.m2l", "b.m2l"]


def test_one_file_for_several_results(tmp_path: Path, model: str) -> None:
    files = [audio_file(tmp_path / "a.wav"), audio_file(tmp_path / "b.wav")]
    message = "multi.m2l: one file for 2 results; name a folder"
    for inputs in (files, [tmp_path]):
        check_refused(tmp_path, message, "encode", *inputs, "-m", model, "-o", tmp_path / "multi.m2l")
    assert Result("encode", *files, "-m", model, "-o", tmp_path / "v0.2").code == 0
    assert sorted(os.listdir(tmp_path / "v0.2")) == ["a.m2l", "b.m2l"]


def test_a_url(tmp_path: Path, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://folder/a.wav", "wb") as file:
        file.write(audio_file(tmp_path / "in" / "b.wav").read_bytes())
    assert Result("encode", "memory://folder/a.wav", "-m", model).code == 0
    assert Latents.load("a.m2l").num_samples == 9000
    check_refused(tmp_path, "a URL that cannot be read", "encode", "memory://nothing.wav", "-m", model)


def test_reconstructions_are_not_inputs(tmp_path: Path, model: str) -> None:
    audio_file(tmp_path / "a.wav")
    for _ in range(2):
        assert Result("reconstruct", tmp_path, "-m", model, "--force").code == 0
    assert sorted(os.listdir(tmp_path)) == ["a.reconstructed.wav", "a.wav"]


@posix
def test_names_of_any_kind(tmp_path: Path, model: str) -> None:
    for name in ("with space.wav", "音楽 é.WAV", "x" * 240 + ".wav", ".hidden.wav"):
        audio_file(tmp_path / name)
    assert Result("encode", tmp_path, "-m", model, "-o", tmp_path / "out").code == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["with space.m2l", "x" * 240 + ".m2l", "音楽 é.m2l"]
