"""What the README and the docs show runs: every python block, and every music2latent command. And the site's hooks."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from .helpers import CLIP, Result

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks(language: str) -> list[tuple[str, str]]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.M | re.S)
    return [
        (f"{page.stem}-{number}", block)
        for page in PAGES
        for number, block in enumerate(pattern.findall(page.read_text()), 1)
    ]


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(CLIP, "song.ogg")
    Path("album").mkdir()
    shutil.copy(CLIP, "album/one.ogg")


@pytest.mark.parametrize(("name", "code"), _blocks("python"))
def test_python(name: str, code: str) -> None:
    exec(compile(code, name, "exec"), {"__name__": name})


@pytest.mark.parametrize(("name", "commands"), _blocks("console"))
def test_commands(name: str, commands: str) -> None:
    lines = [line.removeprefix("$ ") for line in commands.splitlines() if line.startswith("$ music2latent ")]
    assert lines, "a console block without a command of ours"
    for line in lines:
        done = Result(*shlex.split(line, comments=True)[1:])
        assert done.code == 0, f"{line}\n{done.err}"
