"""doctor: on the terminal and as JSON."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import constants

from music2latent import __version__

from ..helpers import Result


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setenv("MUSIC2LATENT_MODEL", model)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_doctor() -> None:
    done = Result("doctor")
    assert (done.code, done.err) == (0, "")
    assert f"  music2latent     {__version__}\n" in done.out
    assert "  named_by         environment variable MUSIC2LATENT_MODEL\n" in done.out
    assert "  reachable        no\n" in done.out
    found = json.loads(Result("doctor", "--json").out)
    assert found["problems"] == []
    assert {key for key in found if key != "problems"} == {line for line in done.out.split("\n") if line[:1].strip()}


def test_a_problem_is_one_line_and_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSIC2LATENT_MODEL", "maxi")
    done = Result("doctor")
    assert done.code == 1
    assert done.err.startswith("error: default model maxi (environment variable MUSIC2LATENT_MODEL) does not load")
    assert len(done.err.splitlines()) == 1
    assert json.loads(Result("doctor", "--json").out)["problems"]
