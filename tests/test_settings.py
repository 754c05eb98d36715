"""The default model: who may name it, and which of them wins."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs
import pytest

from music2latent import InputError
from music2latent.settings import DefaultModel, cache_folder, config_path, default_model


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration file of a user of this test's own; not there yet."""
    monkeypatch.delenv("MUSIC2LATENT_MODEL", raising=False)
    monkeypatch.delenv("MUSIC2LATENT_CONFIG", raising=False)
    monkeypatch.setattr(platformdirs, "user_config_path", lambda app, appauthor: tmp_path / app)
    return tmp_path / "music2latent" / "config.toml"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_the_environment_wins_over_the_file_and_the_file_over_what_is_built_in(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert default_model() == DefaultModel("mini", None)
    assert str(default_model()) == "mini (built in)"
    _write(file, "")
    assert default_model() == DefaultModel("mini", None)
    _write(file, 'model = "official"  # for old latents\n')
    assert default_model() == DefaultModel("official", f"key model in {file}")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())  # as Windows' editors save it
    assert default_model().name == "official"
    monkeypatch.setenv("MUSIC2LATENT_MODEL", "me/piano")
    assert str(default_model()) == "me/piano (environment variable MUSIC2LATENT_MODEL)"
    monkeypatch.setenv("MUSIC2LATENT_MODEL", "")  # as good as not set
    assert default_model().name == "official"


def test_a_file_of_another_name(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSIC2LATENT_CONFIG", str(tmp_path / "other.toml"))
    with pytest.raises(InputError, match=r"other\.toml: no such file; .* MUSIC2LATENT_CONFIG names it"):
        default_model()
    (tmp_path / "other.toml").write_text('model = "x.pt"')
    assert default_model() == DefaultModel("x.pt", f"key model in {tmp_path / 'other.toml'}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'modle = "mini"', "unknown key 'modle'; did you mean 'model'"),
        (b"[model]\nname = 'mini'", "model = {'name': 'mini'}, expected the kind of 'mini'"),
        (b"model = 1", "model = 1, expected the kind of 'mini'"),
        (b"model = ['mini']", r"model = \['mini'\], expected"),
        (b"model = mini", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b"model = " + b"[" * 5000, "not TOML"),
        (b"\x00", "not TOML"),
    ],
)
def test_what_is_refused_names_the_file(file: Path, content: bytes, message: str) -> None:
    _write(file, "")
    file.write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        default_model()
    assert str(file) in str(refused.value)


def test_a_folder_in_its_place(file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(InputError, match=r"config\.toml: cannot be read"):
        default_model()


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MUSIC2LATENT_MODEL", "MUSIC2LATENT_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as it is where the system does not know the user
    if os.name == "posix":
        assert config_path() is cache_folder() is None
    assert default_model() == DefaultModel("mini", None)


def test_the_folders_are_the_platforms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MUSIC2LATENT_CONFIG", raising=False)
    for function, name in ((cache_folder, "user_cache_path"), (config_path, "user_config_path")):
        monkeypatch.setattr(platformdirs, name, lambda app, appauthor: tmp_path / app)
        found = function()
        assert found is not None
        assert found.is_relative_to(tmp_path / "music2latent")
