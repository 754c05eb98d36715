"""Many files: failures are said at the end, and do not stop the rest."""

from __future__ import annotations

from pathlib import Path

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
    assert "1 of 4 failed; the rest is done" in done.err
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == ["a.m2l", "deep/b.m2l", "deep/er/c.m2l"]
    assert Result("decode", out, "-m", model, "-f", "flac").code == 0
    assert (out / "deep" / "er" / "c.flac").exists()


def test_two_inputs_with_one_output(tmp_path: Path, model: str) -> None:
    audio_file(tmp_path / "a.wav")
    audio_file(tmp_path / "a.flac")
    done = Result("encode", tmp_path, "-m", model)
    assert done.code == 1
    assert f"a.wav: its result would replace that of {tmp_path / 'a.flac'}; rename one of them" in done.err
    assert Latents.load(tmp_path / "a.m2l").num_samples == 9000


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
