"""The official package's `.pt` files, also those of its training branch, read without running pickled code."""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .autoencoder import parameter_shapes
from .checkpoint import Checkpoint
from .config import PRESETS, ModelConfig
from .errors import InputError

REPO = "SonyCSLParis/music2latent"
FILE = "music2latent.pt"
LICENSE = "CC BY-NC 4.0"
LATENT_SCALE = 0.06


def read_pt(path: Path, model_id: str | None = None) -> Checkpoint:
    """Read a `.pt` file.

    The weights are those of `gen_state_dict`, or the averaged ones where the file has an `ema_state_dict`.
    The configuration is the file's own under `config`, or follows from the shapes of the weights.

    Raises:
        InputError: a damaged file, one that holds anything but tensors and numbers, or one of another layout.
    """
    content = _load(path)
    weights = content.get("gen_state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        found = ", ".join(map(str, content))[:80] if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{path}: expected a dict with 'gen_state_dict', found: {found}")
    config = _config(content["config"]) if "config" in content else infer_config(weights, str(path))
    average = content.get("ema_state_dict")
    if average is not None:
        names, averaged = list(parameter_shapes(config)), average.get("shadow_params", [])
        if len(averaged) != len(names):
            raise InputError(f"{path}: ema_state_dict holds {len(averaged)} weights, the model has {len(names)}")
        weights = {**weights, **dict(zip(names, averaged, strict=True))}
    # The official file holds no configuration, and no other model of its architecture is known.
    is_official = config == PRESETS["official"] and "config" not in content
    return Checkpoint(
        config=config,
        state_dict=dict(weights),
        model_id=model_id or path.stem,
        latent_scale=float(content.get("latent_scale", LATENT_SCALE)),
        latent_mean=tuple(float(value) for value in content.get("latent_mean", ())),
        latent_std=tuple(float(value) for value in content.get("latent_std", ())),
        provenance=f"read from {path.name}",
        license=LICENSE if is_official else "unknown",
    )


def _load(path: Path) -> Any:
    """Unpickle tensors, containers, numbers and numpy scalars; anything else is refused before it runs."""
    scalar = np.float64(0).__reduce__()[0]
    allowed: list[Any] = [
        np.dtype,
        *{type(np.dtype(kind)) for kind in "fdlqilBH?"},
        *((scalar, f"numpy.{package}.multiarray.scalar") for package in ("core", "_core")),
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        found = re.search(r"(?:GLOBAL|Unsupported global:|Unsupported class) ([\w.]+)", str(error))
        what = f"it asks for {found[1]}" if found else str(error).splitlines()[0]
        raise InputError(f"{path}: holds something other than weights and numbers, not loaded ({what})") from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path}: truncated, or not a PyTorch checkpoint") from error


def _config(values: dict[str, Any]) -> ModelConfig:
    """A configuration in the official package's words; those that shape nothing are left out."""
    ours = {"hop": "hop_length", "bottleneck_channels": "latent_dim"}
    renamed = {ours.get(key, key): value for key, value in values.items()}
    known = ModelConfig().to_dict()
    return ModelConfig.from_dict({key: value for key, value in renamed.items() if key in known})


def infer_config(weights: Mapping[str, Tensor], name: str = "checkpoint") -> ModelConfig:
    """The configuration that gives weights these names and shapes.

    Shapes do not show the number of attention heads, the sample rate and the noise levels: those are taken to be the
    official model's.

    Raises:
        InputError: these are not the weights of such a model.
    """

    def walk(prefix: str) -> tuple[list[int], list[int], list[int], list[int]]:
        """Of a flat list of layers: width, blocks and attention per level, and the kind of Down between levels."""
        widths, layers, attention, freq_only = [0], [0], [0], []
        index = 0
        while any(f"{prefix}.{index}.{part}weight" in weights for part in ("", "c.", "conv1.")):
            block, down = (weights.get(f"{prefix}.{index}.{part}.weight") for part in ("conv1", "c"))
            if block is not None:
                widths[-1] = block.shape[0]
                layers[-1] += 1
                attention[-1] = int(f"{prefix}.{index}.att.norm.weight" in weights)
            elif down is not None:
                freq_only.append(int(down.shape[-1] == 1))
                widths, layers, attention = [*widths, 0], [*layers, 0], [*attention, 0]
            index += 1
        return widths, layers, attention, freq_only

    try:
        widths, layers, attention, freq_only = walk("down_layers")
        _, layers_encoder, attention_encoder, _ = walk("encoder.down_layers")
        base = weights["conv_inp.weight"].shape[0]
        bottleneck = "encoder.bottleneck_layers."
        return ModelConfig(
            base_channels=base,
            multipliers_list=tuple(width // base for width in widths),
            layers_list=tuple(layers),
            attention_list=tuple(attention),
            layers_list_encoder=tuple(layers_encoder),
            attention_list_encoder=tuple(attention_encoder),
            freq_downsample_list=tuple(freq_only),
            bottleneck_base_channels=weights[f"{bottleneck}0.weight"].shape[0],
            num_bottleneck_layers=sum(f"{bottleneck}{i}.conv1.weight" in weights for i in range(1, 100)),
            cond_channels=weights["emb_proj.0.weight"].shape[0],
            latent_dim=weights["encoder.conv_out.weight"].shape[0],
            hop_length=weights["encoder.gain.scale"].shape[2] // 2,
        )
    except KeyError as error:
        raise InputError(f"{name}: not the weights of a Music2Latent model, {error} is missing") from error
