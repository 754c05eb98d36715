"""From the name of a model to its checkpoint: bundled, a file, a folder, or a repository on the Hugging Face hub."""

from __future__ import annotations

import os
import re
import warnings
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Unpack

from . import hub, official
from .autoencoder import Autoencoder
from .checkpoint import SUFFIX, Checkpoint, read_safetensors
from .config import DEFAULT_MODEL
from .errors import InputError

BUNDLED = ("mini",)


def load_model(name: str | os.PathLike[str] = DEFAULT_MODEL, *, revision: str | None = None) -> Autoencoder:
    """A model's networks, as a `torch.nn.Module` in float32. For the names see `load_checkpoint`."""
    return load_checkpoint(name, revision=revision).build().float()


def load_checkpoint(name: str | os.PathLike[str] = DEFAULT_MODEL, **options: Unpack[hub.DownloadOptions]) -> Checkpoint:
    """Find and read a model.

    Args:
        name: `mini` (bundled), a path to a `.safetensors` or `.pt` file, a folder that `save_pretrained` wrote, or
            the id of a Hugging Face repository, such as `SonyCSLParis/music2latent`, that holds one of our files.
        options: of the download from the hub, see `hub.DownloadOptions`.

    Raises:
        InputError: an unknown name, no network where one is needed, or a file that is not a usable model.
    """
    path = Path(name)
    if str(name) in BUNDLED:
        with as_file(files(__package__) / "weights" / f"{name}{SUFFIX}") as bundled:
            return read_safetensors(bundled)
    if path.is_dir():
        path = path / hub.MODEL_FILE
        if not path.exists():
            raise InputError(f"{name}: a folder without {hub.MODEL_FILE}; expected one that save_pretrained wrote")
    if path.exists():
        checkpoint = read_checkpoint(path)
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) and path.suffix not in (".pt", SUFFIX):
        checkpoint = _from_hub(str(name), **options)
    else:
        raise InputError(
            f"unknown model {str(name)!r}: no such file, and not one of {', '.join(BUNDLED)} (bundled), "
            "a path to a .safetensors or .pt file, a Hugging Face repository id"
        )
    if checkpoint.license.startswith(official.LICENSE):
        _warn_of_license(checkpoint.model_id)
    return checkpoint


@cache
def _warn_of_license(model_id: str) -> None:
    """Once per model."""
    warnings.warn(
        f"the weights of {model_id} are licensed {official.LICENSE}: not for commercial use (the code is MIT)",
        stacklevel=4,
    )


def _from_hub(repo_id: str, **options: Unpack[hub.DownloadOptions]) -> Checkpoint:
    wanted = [hub.MODEL_FILE, official.FILE]
    if repo_id == official.REPO:
        wanted.reverse()
    try:
        return read_checkpoint(hub.download(repo_id, wanted, **options), model_id=repo_id)
    except hub.Unreachable as error:
        raise InputError(
            f"model {repo_id!r} is not in the local cache and the hub cannot be reached (no network, or HF_HUB_OFFLINE "
            f"is set); without a network these work: {', '.join(BUNDLED)}, or a path to a file"
        ) from error


def read_checkpoint(path: str | os.PathLike[str], *, model_id: str | None = None) -> Checkpoint:
    """Read one of our safetensors files or an official `.pt` file, told apart by content.

    Raises:
        InputError: a missing, damaged, foreign or unsafe file, or weights that do not fit the configuration.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if start[8:] == b"{":  # safetensors: eight bytes of length, then JSON
        return read_safetensors(path)
    return official.read_pt(path, model_id)
