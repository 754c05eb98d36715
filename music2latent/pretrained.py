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
from .errors import InputError
from .settings import default_model

BUNDLED = ("mini",)
ALIASES = {"official": official.REPO}


def load_model(name: str | os.PathLike[str] | None = None, *, revision: str | None = None) -> Autoencoder:
    """A model's networks, as a `torch.nn.Module` in float32. For the names see `load_checkpoint`."""
    return load_checkpoint(name, revision=revision).build().float()


def load_checkpoint(name: str | os.PathLike[str] | None = None, **options: Unpack[hub.DownloadOptions]) -> Checkpoint:
    """Find and read a model.

    Args:
        name: `mini` (bundled), `official` (`SonyCSLParis/music2latent` on the Hugging Face hub), a path to a
            `.safetensors` or `.pt` file, a folder that `save_pretrained` wrote, or the id of a Hugging Face repository
            that holds one of our files. `mini` and `official` win over files of these names; for those there is
            `./mini`, or a `Path`. None is the default model, see `settings.default_model`.
        options: of the download from the hub, see `hub.DownloadOptions`.

    Raises:
        InputError: an unknown name, no network where one is needed, or a file that is not a usable model.
    """
    if name is None:
        default = default_model()
        try:
            checkpoint = _find(default.name, **options)
        except InputError as error:
            if default.origin is None:
                raise
            raise type(error)(f"{error} (the default model, named by {default.origin})") from error
    else:
        checkpoint = _find(name, **options)
    if checkpoint.license.startswith(official.LICENSE):
        _warn_of_license(checkpoint.model_id)
    return checkpoint


def _find(name: str | os.PathLike[str], **options: Unpack[hub.DownloadOptions]) -> Checkpoint:
    if not isinstance(name, (str, os.PathLike)):
        raise InputError(f"model = {name!r:.80}; expected the name of a model, or a path")
    if name in BUNDLED:
        with as_file(files(__package__) / "weights" / f"{name}{SUFFIX}") as bundled:
            return read_safetensors(bundled)
    if name in ALIASES:
        return _from_hub(ALIASES[str(name)], **options)
    if os.path.isdir(name):
        path = Path(name) / hub.MODEL_FILE
        if not path.exists():
            raise InputError(f"{name}: a folder without {hub.MODEL_FILE}; expected one that save_pretrained wrote")
        return read_checkpoint(path)
    if os.path.exists(name):
        return read_checkpoint(name)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) and Path(name).suffix not in (".pt", SUFFIX):
        return _from_hub(str(name), **options)
    raise InputError(
        f"unknown model {str(name)!r}: no such file, and not one of {', '.join(BUNDLED)} (bundled), "
        f"{', '.join(ALIASES)}, a path to a .safetensors or .pt file, a Hugging Face repository id"
    )


def recorded_name(name: str) -> str:
    """The `model_id` that latents record of the model of this name, where the two differ."""
    return load_checkpoint(name).model_id if name in BUNDLED else ALIASES.get(name, name)


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
        path = hub.download(repo_id, wanted, **options)
    except hub.Unreachable as error:
        raise hub.Unreachable(
            f"model {repo_id!r} is not in the local cache and cannot be downloaded ({error}); without a network these "
            f"work: {', '.join(BUNDLED)}, or a path to a file"
        ) from error
    try:
        return read_checkpoint(path, model_id=repo_id)
    except InputError as error:
        raise InputError(f"{error}; if the cached copy is damaged, delete {path.resolve()} to get another") from error


def read_checkpoint(path: str | os.PathLike[str], *, model_id: str | None = None) -> Checkpoint:
    """Read one of our safetensors files or an official `.pt` file, whatever its suffix.

    Raises:
        InputError: a missing, damaged, foreign or unsafe file, or weights that do not fit the configuration.
    """
    path = Path(path)
    if not os.path.isfile(path):
        raise InputError(f"{path}: {'not a file' if os.path.exists(path) else 'no such file'}")
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    # Eight bytes of length, then JSON; by its suffix also a damaged file, which torch.load would take by that as well.
    if start[8:] == b"{" or path.suffix.lower() == SUFFIX:
        return read_safetensors(path)
    try:
        return official.read_pt(path, model_id)
    except InputError as error:
        if (path.parent / "run.json").is_file():  # of training/folder.py
            raise InputError(
                f"{path}: a checkpoint of a training run; to make a model of it, run: "
                f"music2latent export-weights {path.parent} MODEL.safetensors"
            ) from error
        raise
