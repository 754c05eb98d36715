"""`Checkpoint`, a model as it is stored, and our file: safetensors with the configuration in its metadata."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor

from .autoencoder import Autoencoder, parameter_shapes
from .chunks import ChunkPlan
from .config import ModelConfig
from .errors import InputError
from .files import check_suffix, replacing, stored_bits

FORMAT = "music2latent.model"
FORMAT_VERSION = 1
SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model as it is stored: weights under their official names, and what is known about them."""

    config: ModelConfig
    state_dict: Mapping[str, Tensor] = field(repr=False)
    model_id: str
    latent_scale: float
    """The tanh output divided by this has about unit variance."""
    latent_mean: tuple[float, ...] = field(default=(), repr=False)
    """Mean of every latent channel of the tanh output, over training audio; empty if unknown."""
    latent_std: tuple[float, ...] = field(default=(), repr=False)
    """Standard deviation, likewise."""
    chunk_plan: ChunkPlan | None = None
    """Chunks that this model works best in; None where long ones suit it.

    GroupNorm takes its statistics over a whole chunk, so a model that was trained briefly, on short crops, is at its
    best in chunks of that length.
    """
    provenance: str = ""
    """Who trained it on what."""
    license: str = ""
    """Licence of the weights."""

    def __post_init__(self) -> None:
        _check_weights(self.state_dict, self.config, self.model_id)

    def fingerprint(self) -> str:
        """See `fingerprint`."""
        return fingerprint(self.config, self.state_dict, self.latent_scale)

    def build(self) -> Autoencoder:
        """A network with these weights, in the precision they are stored in, on the CPU, in evaluation mode."""
        with torch.device("meta"):  # no time spent on initial values
            model = Autoencoder(self.config)
        # Copies, so that training the network does not change this record.
        model.load_state_dict({key: weight.clone() for key, weight in self.state_dict.items()}, assign=True)
        return model.eval()


def fingerprint(config: ModelConfig, weights: Mapping[str, Tensor], latent_scale: float) -> str:
    """SHA-256 over all that decoding depends on, every weight as float32, so that a converted file keeps its own."""
    digest = hashlib.sha256(json.dumps([config.to_dict(), latent_scale], sort_keys=True).encode())
    for key in sorted(weights):
        digest.update(key.encode())
        digest.update(weights[key].detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()


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


def read_safetensors(path: Path) -> Checkpoint:
    """Read one of our files; its weights are memory-mapped.

    Raises:
        InputError: a damaged or foreign file, or one of another version.
    """
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
        statistics, plan = json.loads(metadata["latents"]), json.loads(metadata["chunk_plan"])
        return Checkpoint(
            config=ModelConfig.from_dict(json.loads(metadata["config"])),
            state_dict=state_dict,
            model_id=metadata["model_id"],
            latent_scale=float(statistics["scale"]),
            latent_mean=tuple(statistics["mean"]),
            latent_std=tuple(statistics["std"]),
            chunk_plan=ChunkPlan(*plan) if plan else None,
            provenance=metadata["provenance"],
            license=metadata["license"],
        )
    except (safetensors.SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: damaged, or not a model of this package ({error})") from error


def check_model_path(path: Path) -> None:
    """Refuse, before any work is done, a name that a model is not written to."""
    check_suffix(path, SUFFIX, "models")


def write_safetensors(path: str | os.PathLike[str], checkpoint: Checkpoint, *, dtype: str = "float32") -> None:
    """Write one of our files, replacing an older one at once or not at all.

    Args:
        path: ends in `.safetensors`.
        checkpoint: the model.
        dtype: `float32`, or `float16`, to which the weights are rounded.

    Raises:
        InputError: another suffix or dtype, or a place that cannot be written.
    """
    check_model_path(Path(path))
    stored_bits(dtype)
    weights = {
        name: checkpoint.state_dict[name].detach().to("cpu", getattr(torch, dtype)).contiguous()
        for name in parameter_shapes(checkpoint.config)
    }
    statistics = {
        "scale": checkpoint.latent_scale,
        "mean": list(checkpoint.latent_mean),
        "std": list(checkpoint.latent_std),
    }
    plan = checkpoint.chunk_plan
    metadata = {
        "format": FORMAT,
        "format_version": str(FORMAT_VERSION),
        "config": json.dumps(checkpoint.config.to_dict()),
        "latents": json.dumps(statistics),
        "chunk_plan": json.dumps([plan.length, plan.overlap] if plan else None),
        "model_id": checkpoint.model_id,
        "provenance": checkpoint.provenance,
        "license": checkpoint.license,
    }
    with replacing(path) as partial:
        partial.write_bytes(save(weights, metadata))
