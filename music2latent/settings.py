"""What a user sets once for every call: the default model, by an environment variable or in a configuration file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from .config import DEFAULT_MODEL, checked
from .errors import InputError

MODEL_VARIABLE = "MUSIC2LATENT_MODEL"
CONFIG_VARIABLE = "MUSIC2LATENT_CONFIG"


@dataclass(frozen=True)
class DefaultModel:
    """The model that is loaded where none is named."""

    name: str
    origin: str | None
    """What named it, as in "environment variable MUSIC2LATENT_MODEL"; None if nothing did."""

    def __str__(self) -> str:
        return f"{self.name} ({self.origin or 'built in'})"


def default_model() -> DefaultModel:
    """The model of the environment variable, else of the configuration file, else `mini`.

    Raises:
        InputError: a configuration file that cannot be read, or holds what it should not.
    """
    if name := os.environ.get(MODEL_VARIABLE):
        return DefaultModel(name, f"environment variable {MODEL_VARIABLE}")
    path = config_path()
    values = _read(path) if path else {}
    if "model" in values:
        return DefaultModel(values["model"], f"key model in {path}")
    return DefaultModel(DEFAULT_MODEL, None)


def config_path() -> Path | None:
    """The configuration file, whether it is there or not: `MUSIC2LATENT_CONFIG` names it, else it is `config.toml` in
    the user's folder for configuration (`~/.config/music2latent` on Linux). None for a user without a home."""
    if named := os.environ.get(CONFIG_VARIABLE):
        return Path(named)
    folder = _of_user(platformdirs.user_config_path)
    return folder and folder / "config.toml"


def cache_folder() -> Path | None:
    """The user's folder for what can be made again (`~/.cache/music2latent` on Linux), whether it is there or not. None
    for a user without a home."""
    return _of_user(platformdirs.user_cache_path)


def _of_user(find: Callable[..., Path]) -> Path | None:
    try:
        folder = find("music2latent", appauthor=False)
    except RuntimeError:  # no home; older releases of platformdirs give a path below one called ~
        return None
    return folder if folder.is_absolute() else None


def _read(path: Path) -> dict[str, str]:
    """Its keys; none where there is no file, unless the environment names it."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if not os.environ.get(CONFIG_VARIABLE):
            return {}
        raise InputError(f"{path}: no such file; the environment variable {CONFIG_VARIABLE} names it") from error
    except OSError as error:
        raise InputError(f"configuration file {path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML
        raise InputError(f"configuration file {path}: not TOML ({error})") from error
    return checked(f"configuration file {path}", values, {"model": DEFAULT_MODEL})
