"""Model files: a name -> a file -> configuration and weights.

Ours is one safetensors file with the configuration as JSON in its metadata. The published `.pt` files (also those of
its training branch) are read without running the code that a pickle may hold.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from . import official
from .autoencoder import Autoencoder, parameter_shapes
from .config import PRESETS, ModelConfig
from .errors import InputError
from .files import replacing

FORMAT = "music2latent.model"
FORMAT_VERSION = 1
HUB_FILE = "model.safetensors"
PUBLISHED_FILE = "music2latent.pt"
PUBLISHED_REPO = "SonyCSLParis/music2latent"
PUBLISHED_LICENSE = "CC BY-NC 4.0"
PUBLISHED_LATENT_SCALE = 0.06
BUNDLED = ("mini",)


@dataclass(frozen=True)
class Checkpoint:
    """A model as it is stored: weights under their published names, and what is known about them."""

    config: ModelConfig
    state_dict: Mapping[str, Tensor] = field(repr=False)
    model_id: str
    latent_scale: float
    """The tanh output divided by this has about unit variance."""
    latent_mean: tuple[float, ...] = field(default=(), repr=False)
    """Mean of every latent channel of the tanh output, over training audio; empty if unknown."""
    latent_std: tuple[float, ...] = field(default=(), repr=False)
    """Standard deviation, likewise."""
    window: tuple[int, int] | None = None
    """Window and overlap in latents that this model works best in; None where long windows suit it.

    GroupNorm takes its statistics over a whole window, so a model that was trained briefly, on short crops, is at its
    best in windows of that length.
    """
    provenance: str = ""
    """Who trained it on what."""
    license: str = ""
    """Licence of the weights."""

    def __post_init__(self) -> None:
        _check_weights(self.state_dict, self.config, self.model_id)

    def fingerprint(self) -> str:
        """SHA-256 over the configuration and every weight as float32, so that a converted file keeps its own."""
        digest = hashlib.sha256(json.dumps(self.config.to_dict(), sort_keys=True).encode())
        for key in sorted(self.state_dict):
            digest.update(key.encode())
            digest.update(self.state_dict[key].detach().to("cpu", torch.float32).contiguous().numpy().data)
        return digest.hexdigest()

    def build(self) -> Autoencoder:
        """A network with these weights, in the precision they are stored in, on the CPU, in evaluation mode."""
        with torch.device("meta"):  # no time spent on initial values
            model = Autoencoder(self.config)
        # Copies: weights of its own, that training it may change.
        model.load_state_dict({key: weight.clone() for key, weight in self.state_dict.items()}, assign=True)
        return model.eval()


# ------------------------------------------------------------------------------------------------ names


def load_model(name: str | os.PathLike[str] = "mini", *, revision: str | None = None) -> Autoencoder:
    """A model's networks, as a `torch.nn.Module` in float32. For the names see `load_checkpoint`."""
    return load_checkpoint(name, revision=revision).build().float()


def load_checkpoint(name: str | os.PathLike[str] = "mini", *, revision: str | None = None, **hub: Any) -> Checkpoint:
    """Find and read a model.

    Args:
        name: `mini` (bundled), a path to a `.safetensors` or `.pt` file, a folder that `save_pretrained` wrote, or
            the id of a Hugging Face repository, such as `SonyCSLParis/music2latent`, that holds one of our files.
        revision: branch, tag or commit of that repository.
        hub: further arguments of `huggingface_hub.hf_hub_download` (token, cache_dir, local_files_only, ...).

    Raises:
        InputError: an unknown name, no network where one is needed, or a file that is not a usable model.
    """
    path = Path(name)
    if str(name) in BUNDLED:
        with as_file(files(__package__) / "weights" / f"{name}.safetensors") as bundled:
            return read_safetensors(bundled)
    if path.is_dir():
        path = path / HUB_FILE
        if not path.exists():
            raise InputError(f"{name}: a folder without {HUB_FILE}; expected one that save_pretrained wrote")
    if path.exists():
        checkpoint = read_checkpoint(path)
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)) and path.suffix not in (".pt", ".safetensors"):
        checkpoint = _from_hub(str(name), revision, **hub)
    else:
        raise InputError(f"unknown model {str(name)!r}: no such file, and not one of {_names_offline()}")
    if checkpoint.license.startswith(PUBLISHED_LICENSE):
        _say_license(checkpoint.model_id)
    return checkpoint


def _names_offline() -> str:
    return f"{', '.join(BUNDLED)} (bundled), a path to a .safetensors or .pt file, a Hugging Face repository id"


@cache
def _say_license(model_id: str) -> None:
    warnings.warn(
        f"the weights of {model_id} are licensed {PUBLISHED_LICENSE}: not for commercial use (the code is MIT)",
        stacklevel=4,
    )


def _from_hub(repo_id: str, revision: str | None, **hub: Any) -> Checkpoint:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    def download(filename: str) -> Path:
        return Path(hf_hub_download(repo_id, filename, revision=revision, library_name="music2latent", **hub))

    wanted = (PUBLISHED_FILE, HUB_FILE) if repo_id == PUBLISHED_REPO else (HUB_FILE, PUBLISHED_FILE)
    offline = None
    for filename in wanted:
        try:
            return read_checkpoint(download(filename), model_id=repo_id)
        except LocalEntryNotFoundError as error:  # no network, and not in the cache under this file name
            offline = error
        except EntryNotFoundError:  # the repository has no such file
            continue
        except RevisionNotFoundError as error:
            raise InputError(
                f"repository {repo_id!r} has no revision {revision!r}; name a branch, tag or commit"
            ) from error
        except RepositoryNotFoundError as error:
            raise InputError(
                f"the hub has no repository {repo_id!r}, or it is private: check the name, or log in with hf auth login"
            ) from error
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"model {repo_id!r} cannot be had from the hub: {reason}") from error
    if offline is not None:
        raise InputError(
            f"model {repo_id!r} is not in the local cache and the hub cannot be reached (no network, or HF_HUB_OFFLINE "
            f"is set); without a network these work: {', '.join(BUNDLED)}, or a path to a file"
        ) from offline
    raise InputError(f"repository {repo_id!r} holds neither {HUB_FILE} nor {PUBLISHED_FILE}")


# ------------------------------------------------------------------------------------------------ files


def read_checkpoint(path: str | os.PathLike[str], *, model_id: str | None = None) -> Checkpoint:
    """Read one of our safetensors files or a published `.pt` file, told apart by content.

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
    return _read_pt(path, model_id)


def read_safetensors(path: Path) -> Checkpoint:
    """Read one of our files; its weights are memory-mapped."""
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise InputError(f"{path}: a safetensors file, but not a model of this package")
            if metadata.get("format_version") != str(FORMAT_VERSION):
                raise InputError(
                    f"{path}: model format version {metadata.get('format_version')}, this package reads "
                    f"{FORMAT_VERSION}; a newer release of music2latent may read it"
                )
            state_dict = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        statistics = json.loads(metadata["latents"])
        return Checkpoint(
            ModelConfig.from_dict(json.loads(metadata["config"])),
            state_dict,
            metadata["model_id"],
            float(statistics["scale"]),
            tuple(statistics["mean"]),
            tuple(statistics["std"]),
            tuple(window) if (window := json.loads(metadata["window"])) else None,
            metadata["provenance"],
            metadata["license"],
        )
    except (safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: damaged, or not a model of this package ({error})") from error


def write_safetensors(path: str | os.PathLike[str], checkpoint: Checkpoint, *, half: bool = False) -> None:
    """Write one of our files, replacing an older one at once or not at all; `half` rounds the weights to float16."""
    dtype = torch.float16 if half else torch.float32
    weights = {
        name: checkpoint.state_dict[name].detach().to("cpu", dtype).contiguous()
        for name in parameter_shapes(checkpoint.config)
    }
    statistics = {
        "scale": checkpoint.latent_scale,
        "mean": list(checkpoint.latent_mean),
        "std": list(checkpoint.latent_std),
    }
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(checkpoint.config.to_dict()),
        "latents": json.dumps(statistics),
        "window": json.dumps(checkpoint.window),
        "model_id": checkpoint.model_id,
        "provenance": checkpoint.provenance,
        "license": checkpoint.license,
    }
    with replacing(path) as partial:
        partial.write_bytes(save(weights, metadata))


def write_folder(folder: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a folder as the Hugging Face hub lays models out: weights, configuration to look at, model card."""
    folder = Path(folder)
    write_safetensors(folder / HUB_FILE, checkpoint)
    with replacing(folder / "config.json") as partial:
        partial.write_text(json.dumps(checkpoint.config.to_dict(), indent=2) + "\n")
    card = (
        f"---\nlibrary_name: music2latent\ntags: [audio, autoencoder]\n---\n# {checkpoint.model_id}\n\n"
        f"{checkpoint.provenance}\n\nLicence: {checkpoint.license}. Use it with\n\n"
        '```python\nfrom music2latent import EncoderDecoder\n\ncodec = EncoderDecoder(model="OWNER/NAME")\n```\n'
    )
    with replacing(folder / "README.md") as partial:
        partial.write_text(card)


def upload(
    repo_id: str,
    checkpoint: Checkpoint,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload with music2latent",
) -> str:
    """Create the Hugging Face repository if need be and upload `write_folder`'s files; returns the commit's address."""
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="music2latent")
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, checkpoint)
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, revision=revision, commit_message=commit_message
        )
    return str(commit.commit_url)


def _read_pt(path: Path, model_id: str | None) -> Checkpoint:
    config, weights, facts = official.read(path)
    # The published file has no configuration in it, and its architecture is nobody else's until shown otherwise.
    is_published = config == PRESETS["official"] and "config" not in facts
    return Checkpoint(
        config,
        weights,
        model_id or path.stem,
        float(facts.get("latent_scale", PUBLISHED_LATENT_SCALE)),
        tuple(float(value) for value in facts.get("latent_mean", ())),
        tuple(float(value) for value in facts.get("latent_std", ())),
        provenance=f"read from {path.name}",
        license=PUBLISHED_LICENSE if is_published else "unknown",
    )


def _check_weights(weights: Mapping[str, Tensor], config: ModelConfig, name: str) -> None:
    """Refuse weights that do not fit, naming the keys."""
    expected = parameter_shapes(config)
    problems = {
        "missing": [key for key in expected if key not in weights],
        "unexpected": [key for key in weights if key not in expected],
        "of another shape": [
            f"{key} {list(weights[key].shape)} instead of {list(shape)}"
            for key, shape in expected.items()
            if key in weights and weights[key].shape != shape
        ],
    }
    found = [
        f"{kind}: {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}"
        for kind, keys in problems.items()
        if keys
    ]
    if found:
        raise InputError(f"{name}: weights do not fit the configuration; {'; '.join(found)}")
