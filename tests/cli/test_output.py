"""What is said: on which stream, how much, and nothing that a terminal would act upon."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from music2latent.cli.output import complain, configure, say

from ..helpers import Result, audio_file, posix


def test_a_line_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(verbose=False, quiet=False)
    complain("error: \x1b[2J\x07 a\nb \u202e 音")
    say("two\nlines\r")
    assert capsys.readouterr() == ("two\nlines\\r\n", "error: \\x1b[2J\\x07 a\\nb \\u202e 音\n")
    complain("x" * 100_000)
    assert len(capsys.readouterr().err) < 1100


def test_more_and_less(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav")
    plain = Result("encode", song, "-m", model)
    assert plain.out
    assert not plain.err
    verbose = Result("encode", song, "-m", model, "--force", "--verbose")
    assert verbose.out == plain.out
    assert "EncoderDecoder(model='tiny'" in verbose.err
    quiet = Result("encode", song, "-m", model, "--force", "--quiet")
    assert (quiet.code, quiet.out) == (0, "")
    assert Result("encode", song, "-m", model, "--quiet").err.startswith("error: ")


@posix
def test_a_reader_that_has_seen_enough(tmp_path: Path, model: str) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        audio_file(tmp_path / name)
    command = f"{sys.executable} -m music2latent encode {tmp_path} -m {model} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stdout.splitlines()[1:] == ["0"]
    assert done.stderr == ""
    assert len(list(tmp_path.glob("*.m2l"))) == 3


@posix
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_that_are_not_utf_8(tmp_path: Path, model: str, locale: str) -> None:
    audio_file(tmp_path / "b.wav")
    os.rename(os.fsencode(tmp_path / "b.wav"), os.fsencode(tmp_path) + b"/\xff\xfe.wav")
    audio_file(tmp_path / "ü.wav")
    (tmp_path / "bad\n\x1b[31m.wav").write_text("not audio")
    done = subprocess.run(
        [sys.executable, "-m", "music2latent", "encode", str(tmp_path), "-m", model],
        capture_output=True,
        env=os.environ | {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )
    assert done.returncode == 1
    assert sorted(os.listdir(os.fsencode(tmp_path)))[-1] == b"\xff\xfe.wav"
    assert len(list(tmp_path.glob("*.m2l"))) == 2
    assert done.stderr.count(b"\n") == 2
    assert b"bad\\n\\x1b[31m.wav: not audio" in done.stderr
    assert b"\\udcff\\udcfe.m2l: 1 x 64" in done.stdout


def test_completion_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # the tests may run under none
    done = Result("--show-completion", "bash")
    assert "_MUSIC2LATENT_COMPLETE" in done.out
