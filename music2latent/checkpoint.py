"""`Checkpoint`, a model as it is stored, and our file: safetensors with the configuration in its metadata."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from .autoencoder import Autoencoder, parameter_shapes
from .chunks import ChunkPlan
from .config import ModelConfig, shown
from .errors import InputError, check_name, printable
from .files import check_suffix, replacing, stored_bits

FORMAT = "music2latent.model"
FORMAT_VERSION = 1
SUFFIX = ".safetensors"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_LATENTS = 4096
"""In a chunk that a model brings with it: of the official shape six minutes, and memory grows with them."""


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
    latents_of: tuple[str, ...] = field(default=(), repr=False)
    """Fingerprints of the models whose latents these are as well: a decoder was trained on, their encoder was not."""
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
        _check_facts(self)
        _check_weights(self.state_dict, self.config)

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
    values = config.to_dict()
    if not config.tone_features:  # a later key, without which stored latents are still to be known
        del values["tone_features"]
    digest = hashlib.sha256(json.dumps([values, latent_scale], sort_keys=True).encode())
    for key in sorted(weights):
        digest.update(key.encode())
        digest.update(weights[key].detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()


def _check_facts(checkpoint: Checkpoint) -> None:
    """Refuse what is known about the weights where it cannot be."""

    def within(value: object, low: float, high: float) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high

    if not within(scale := checkpoint.latent_scale, 1e-6, 1e3):
        raise InputError(f"latent_scale = {shown(scale)}; accepted: numbers from 1e-06 to 1000")
    check_name("model_id", checkpoint.model_id)
    dim = checkpoint.config.latent_dim
    for name, low in {"latent_mean": -1.0, "latent_std": 0.0}.items():
        values = getattr(checkpoint, name)
        if len(values) not in (0, dim) or not all(within(value, low, 1.0) for value in values):
            raise InputError(f"{name} = {shown(values)}; accepted: {dim} numbers from {low:g} to 1, or none")
    for fingerprint in checkpoint.latents_of:
        check_name("latents_of", fingerprint)
    plan = checkpoint.chunk_plan
    if plan is not None and plan.length > MOST_LATENTS:
        raise InputError(f"a model's own chunks of {plan.length} latents; accepted: up to {MOST_LATENTS}")


def _check_weights(weights: Mapping[str, Tensor], config: ModelConfig) -> None:
    """Refuse weights that do not fit, naming the keys."""
    expected = parameter_shapes(config)
    both = [key for key in expected if key in weights]
    problems = {
        "missing": [key for key in expected if key not in weights],
        "unexpected": [f"{key!s:.80}" for key in weights if key not in expected],
        "of another shape": [
            f"{key} {list(weights[key].shape)} instead of {list(expected[key])}"
            for key in both
            if weights[key].shape != expected[key]
        ],
        "not of a float type": [f"{key} {weights[key].dtype}" for key in both if weights[key].dtype not in FLOATS],
    }
    found = [
        f"{kind}: {', '.join(keys[:3])}{f' and {len(keys) - 3} more' if len(keys) > 3 else ''}"
        for kind, keys in problems.items()
        if keys
    ]
    if found:
        raise InputError(f"weights do not fit the configuration; {'; '.join(found)}")
    for key, weight in weights.items():
        least, greatest = weight.detach().aminmax()  # NaN if there is one; a pass less than isfinite
        if not all(math.isfinite(extreme.float()) for extreme in (least, greatest)):
            raise InputError(f"weights that are NaN, infinite or beyond float32: {key}")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in what is said of it, and say whatever can go wrong with one in one line."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{path}: {printable(str(error))}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # readers of damaged files raise nearly everything
        reason = printable(str(error)) or type(error).__name__
        raise InputError(f"{path}: truncated or damaged, or not a model file ({reason:.120})") from error


def read_safetensors(path: Path) -> Checkpoint:
    """Read one of our files, whole: a file that is mapped and then truncated would end the process.

    Raises:
        InputError: a damaged or foreign file, or one of another version.
    """
    with reading(path):
        content = path.read_bytes()
        refuse_foreign(content[:64], content[8:9] == b"{")
        state_dict, metadata = _unpack(content)
        if metadata.get("format") != FORMAT:
            raise InputError("a safetensors file, but not a model of this package")
        if metadata.get("format_version") != str(FORMAT_VERSION):
            raise InputError(
                f"model format version {metadata.get('format_version'):.20}, this package reads "
                f"{FORMAT_VERSION}; a newer release of music2latent may read it"
            )
        statistics, plan = json.loads(metadata["latents"]), json.loads(metadata["chunk_plan"])
        return Checkpoint(
            config=ModelConfig.from_dict(json.loads(metadata["config"])),
            state_dict=state_dict,
            model_id=metadata["model_id"],
            latent_scale=statistics["scale"],
            latent_mean=tuple(statistics["mean"]),
            latent_std=tuple(statistics["std"]),
            latents_of=tuple(statistics.get("of", ())),
            chunk_plan=None if plan is None else ChunkPlan(*plan),
            provenance=metadata["provenance"],
            license=metadata["license"],
        )


def refuse_foreign(start: bytes, known: bool) -> None:
    """Say what a file is, by its first bytes, if it is not of a known kind.

    Raises:
        InputError: it is not.
    """
    if start.startswith(b"version https://git-lfs"):
        raise InputError("a Git LFS pointer, not the file; run git lfs pull")
    if not known:
        raise InputError(
            "not a model file; accepted: .safetensors files of this package, .pt files of the official package"
        )


def _unpack(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata; `load` checks that the header fits the content, and drops the metadata."""
    state_dict = load(content)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return state_dict, header.get("__metadata__", {})


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
        InputError: another suffix or dtype, weights that float16 cannot hold, or a place that cannot be written.
    """
    check_model_path(Path(path))
    stored_bits(dtype)
    weights = {
        name: checkpoint.state_dict[name].detach().to("cpu", getattr(torch, dtype)).contiguous()
        for name in parameter_shapes(checkpoint.config)
    }
    for name, weight in weights.items():
        if not bool(weight.isfinite().all()):
            raise InputError(f"{path}: {name} is beyond float16's 65504; store the weights with dtype='float32'")
    statistics = {
        "scale": checkpoint.latent_scale,
        "mean": list(checkpoint.latent_mean),
        "std": list(checkpoint.latent_std),
        "of": list(checkpoint.latents_of),
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
