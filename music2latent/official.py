"""The official package's `.pt` files, also those of its training branch, read without running pickled code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from .autoencoder import parameter_shapes
from .checkpoint import Checkpoint, reading, refuse_foreign
from .config import PRESETS, ModelConfig
from .errors import InputError
from .unpickling import Archive, StoredTensor

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
    with reading(path), path.open("rb") as file:
        _check_start(file.read(64))
        archive = Archive(file)
        content = archive.content()
        weights = content.get("gen_state_dict") if isinstance(content, dict) else None
        if not isinstance(weights, dict) or not all(isinstance(weight, StoredTensor) for weight in weights.values()):
            raise InputError(_other_layout(content, path))
        config = _config(content["config"]) if "config" in content else infer_config(weights)
        if (average := content.get("ema_state_dict")) is not None:
            weights = weights | dict(zip(parameter_shapes(config), _averaged(average, config), strict=True))
        # The official file holds no configuration, and no other model of its architecture is known.
        is_official = config == PRESETS["official"] and "config" not in content
        return Checkpoint(
            config=config,
            state_dict={key: archive.tensor(weight) for key, weight in weights.items()},
            model_id=model_id or path.stem,
            latent_scale=content.get("latent_scale", LATENT_SCALE),
            latent_mean=tuple(content.get("latent_mean", ())),
            latent_std=tuple(content.get("latent_std", ())),
            provenance=f"read from {path.name}",
            license=LICENSE if is_official else "unknown",
        )


def _check_start(start: bytes) -> None:
    """Refuse, by its first bytes, what is no archive of `torch.save`."""
    if start.startswith(b"\x80"):
        raise InputError(
            "a pickle, or a file of PyTorch before 1.6; if you trust it, torch.save it again with a newer one"
        )
    refuse_foreign(start, start.startswith(b"PK\x03\x04"))


def _other_layout(content: Any, path: Path) -> str:
    """What came instead of an official file's content."""
    if not isinstance(content, dict):
        return f"expected a dict with 'gen_state_dict', found: {type(content).__name__}"
    if {"ema", "iteration", "optimizer"} <= set(content):
        return f"a training run's checkpoint; music2latent export-weights {path.parent} makes a model file of it"
    return f"expected a dict with 'gen_state_dict', found: {', '.join(map(str, content)) or 'no keys':.80}"


def _averaged(average: Any, config: ModelConfig) -> list[StoredTensor]:
    """The weights in an `ema_state_dict`, which are in the model's order."""
    averaged = average.get("shadow_params") if isinstance(average, dict) else None
    if not isinstance(averaged, list) or not all(isinstance(weight, StoredTensor) for weight in averaged):
        raise InputError("ema_state_dict holds no list of weights, 'shadow_params'")
    if len(averaged) != (expected := len(parameter_shapes(config))):
        raise InputError(f"ema_state_dict holds {len(averaged)} weights, the model has {expected}")
    return averaged


def _config(values: Any) -> ModelConfig:
    """A configuration in the official package's words; those that shape nothing are left out."""
    if not isinstance(values, dict):
        raise InputError(f"config is a {type(values).__name__}, not a dict")
    ours = {"hop": "hop_length", "bottleneck_channels": "latent_dim"}
    renamed = {ours.get(key, key): value for key, value in values.items()}
    known = ModelConfig().to_dict()
    return ModelConfig.from_dict({key: value for key, value in renamed.items() if key in known})


def infer_config(weights: Mapping[str, Tensor | StoredTensor]) -> ModelConfig:
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
        raise InputError(f"not the weights of a Music2Latent model, {error} is missing") from error
    except (IndexError, ZeroDivisionError) as error:
        raise InputError("not the weights of a Music2Latent model, their shapes have too few dimensions") from error
