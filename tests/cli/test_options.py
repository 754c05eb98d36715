"""Shared options: declared once, the same in every verb, and handed over as groups."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer

from music2latent import InputError
from music2latent.cli import app
from music2latent.cli.options import CodecOptions, Existing, grouped
from music2latent.cli.paths import Job


@dataclass(frozen=True, kw_only=True)
class Sizes:
    width: Annotated[int, typer.Option(help="Across.")] = 3
    height: int = 4


def test_a_group_becomes_its_fields_and_comes_back_as_one() -> None:
    found = []

    def verb(name: str, *, sizes: Sizes, loud: bool = False) -> None:
        found.append((name, sizes, loud))

    command = grouped(verb)
    assert list(inspect.signature(command).parameters) == ["name", "width", "height", "loud", "verbose", "quiet"]
    command(name="a", width=5, height=6, loud=True, verbose=False, quiet=False)
    assert found == [("a", Sizes(width=5, height=6), True)]


def test_the_same_option_is_the_same_in_every_verb() -> None:
    shared: dict[str, set[tuple[object, ...]]] = {}
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        for option in command.params:
            if option.name in (
                "device",
                "dtype",
                "seed",
                "force",
                "verbose",
                "quiet",
                "save_dtype",
                "compile",
                "batch_size",
                "coding_rate",
            ):
                shared.setdefault(option.name, set()).add((option.help, tuple(option.opts)))
    assert len(shared) == 10
    assert all(len(kinds) == 1 for kinds in shared.values()), shared


def test_a_result_that_exists_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    target = tmp_path / "a.m2l"
    target.touch()
    with pytest.raises(InputError, match="exists already"):
        CodecOptions(model="no such model").load_for([Job(target, target)], Existing())
    for existing in (Existing(force=True), Existing(skip_existing=True)):
        with pytest.raises(InputError, match="unknown model"):
            CodecOptions(model="no such model").load_for([Job(target, target)], existing)
