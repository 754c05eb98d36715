"""Extras: the list agrees with pyproject.toml, and what is missing is said before any work is done."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from music2latent import InputError
from music2latent.extras import EXTRAS, require

from .helpers import CLIP, ROOT, Result


def _declared(extra: str) -> set[str]:
    """Distributions that pyproject.toml names for an extra, those of extras that it includes as well."""
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra]
    found = set()
    for line in lines:
        if included := re.match(r"music2latent\[(.*)\]", line):
            found |= set().union(*(_declared(name) for name in included[1].split(",")))
        else:
            found.add(re.match(r"[\w-]+", line)[0].lower())  # type: ignore[index]
    return found


@pytest.mark.parametrize("extra", EXTRAS)
def test_import_names_are_those_of_the_declared_packages(extra: str) -> None:
    installed = packages_distributions()
    named = {installed.get(name, [name.replace("_", "-")])[0].lower() for name in EXTRAS[extra]}
    assert named == _declared(extra) - {"tensorboard"}  # training goes on without


def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require("plot")
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(InputError, match=r"^scipy not installed; run: pip install 'music2latent\[evaluate\]'$"):
        require("evaluate")


@pytest.mark.parametrize(
    ("package", "extra", "command"),
    [
        ("jinja2", "evaluate", ("evaluate", CLIP, "--output", "out")),
        ("frechet_audio_distance", "fad", ("evaluate", CLIP, "--fad", "vggish", "--output", "out")),
        ("librosa", "evaluate", ("probe", CLIP.parent, "--output", "out")),
        ("matplotlib", "plot", ("reconstruct", CLIP, "--plot", "--output", "out")),
        ("accelerate", "train", ("train", "tiny", "--data", CLIP.parent, "--output", "out")),
    ],
)
def test_verbs_refuse_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str, command: tuple[object, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr("music2latent.pretrained.read_safetensors", lambda path: pytest.fail("a model was loaded"))
    done = Result(*command)
    assert done.code == 1
    assert done.err == f"error: {package} not installed; run: pip install 'music2latent[{extra}]'\n"
    assert not os.listdir(tmp_path)
