"""The report on an installation: what is in it, what is never in it, and when something is a problem."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

import music2latent.hub
from music2latent import __version__, doctor, settings
from music2latent.audio import WRITTEN
from music2latent.checkpoint import write_safetensors
from music2latent.doctor import report

from .helpers import reference_checkpoint
from .hub import closed_port, hub, silent_port

SECTIONS = [
    *("problems", "versions", "extras", "platform", "devices", "compiled_kernels"),
    *("formats", "programs", "folders", "hub", "default_model"),
]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No settings of whoever runs the tests, a small default model, and a hub that is not there."""
    write_safetensors(tmp_path / "tiny.safetensors", reference_checkpoint("tiny"))
    monkeypatch.setenv("MUSIC2LATENT_MODEL", str(tmp_path / "tiny.safetensors"))
    monkeypatch.delenv("MUSIC2LATENT_CONFIG", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with closed_port() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        yield


def test_what_is_in_it() -> None:
    found = report()
    assert list(found) == SECTIONS
    assert json.loads(json.dumps(found)) == found
    assert not [name for name in SECTIONS[1:] if "error" in found[name]]
    assert found["problems"] == []
    assert found["versions"]["music2latent"] == __version__
    assert set(doctor.NEEDED) < set(found["versions"])
    assert set(found["formats"]["read_and_written"]) | set(found["formats"]["not"]) == set(WRITTEN)
    assert found["devices"]["cpu"]["dtype_auto"] in ("float32", "bfloat16")
    assert found["compiled_kernels"].get("file") or found["compiled_kernels"]["why"]
    assert found["default_model"]["loads"] is True
    assert found["default_model"]["named_by"] == "environment variable MUSIC2LATENT_MODEL"
    assert found["folders"]["hub_cache"]["writable"] is True
    assert found["hub"]["reachable"] is False  # which is no problem by itself
    assert "no connection to the hub" in found["hub"]["why"]


def test_an_extra_that_lacks_something_has_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert report()["extras"]["plot"] == "lacks matplotlib; pip install 'music2latent[plot]'"


@pytest.mark.parametrize("package", ["soxr", "huggingface_hub", "soundfile"])
def test_a_needed_package_that_is_broken_is_a_problem_and_the_rest_is_reported(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    found = report()
    assert list(found) == SECTIONS
    assert f"{package} cannot be imported" in found["problems"][0]
    assert found["problems"][0].endswith(f"run: pip install --force-reinstall {package}")
    assert found["versions"][package].startswith("broken: ")


def test_the_hub_is_asked_once_and_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "60")
    monkeypatch.setattr(music2latent.hub, "PATIENCE", 0.3)
    with silent_port() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        began = time.monotonic()
        found = doctor._hub({})
        assert time.monotonic() - began < 2
    assert found["reachable"] is False
    with hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        assert doctor._hub({})["reachable"] is True
        assert server.requests == ["HEAD /"]
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert doctor._hub({})["why"] == "HF_HUB_OFFLINE is set"
        assert server.requests == ["HEAD /"]


def test_a_default_model_that_is_not_downloaded_is_a_problem_only_without_the_hub(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MUSIC2LATENT_MODEL", "official")
    assert "default model official (environment variable MUSIC2LATENT_MODEL) does not load" in report()["problems"][0]
    with hub() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        found = report()
        assert server.requests == ["HEAD /"]  # nothing is downloaded
    assert found["problems"] == []
    assert found["default_model"]["why"] == "not downloaded yet; that happens when it is first used"


def test_a_default_that_cannot_be_used_is_a_problem(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MUSIC2LATENT_MODEL", "maxi")
    assert "does not load: unknown model 'maxi'" in report()["problems"][0]
    monkeypatch.delenv("MUSIC2LATENT_MODEL")
    (tmp_path / "config.toml").write_text("modle = 1")
    monkeypatch.setenv("MUSIC2LATENT_CONFIG", str(tmp_path / "config.toml"))
    found = report()
    assert "unknown key 'modle'; did you mean 'model'?" in found["problems"][0]
    assert found["default_model"].keys() == {"error"}


def test_neither_secrets_nor_names_are_in_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "people" / "jane"
    for variable, value in {
        **{"HOME": str(home), "USERPROFILE": str(home), "XDG_CACHE_HOME": str(home / "c"), "LOGNAME": "jane"},
        **{"USER": "jane", "HF_TOKEN": "hf_secret", "HTTPS_PROXY": "http://jane:hf_secret@proxy:1"},
        "MUSIC2LATENT_CONFIG": str(tmp_path / "data" / "jane" / "config.toml"),
    }.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("MUSIC2LATENT_MODEL")
    monkeypatch.setattr(constants, "ENDPOINT", "http://jane:hf_secret@127.0.0.1:1/x")
    text = json.dumps(report())
    assert "jane" not in text
    assert "hf_secret" not in text
    assert '"token": "set"' in text
    assert "http://127.0.0.1:1/x" in text
    assert "USER" in text
    assert str(settings.config_path()) not in text
