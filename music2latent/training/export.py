"""A run's averaged weights -> a model file, with latent statistics and a model card."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from .. import spectrogram
from ..autoencoder import Autoencoder
from ..checkpoint import Checkpoint, check_model_path, write_safetensors
from ..chunks import ChunkPlan
from ..errors import InputError
from ..files import replacing
from ..model_card import model_card
from .config import TrainingConfig
from .data import Crops, index_folder
from .folder import Origin, config_of, read_run, read_state
from .log import duration
from .run import training_crops


def export_weights(
    run: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    dtype: str = "float32",
    best: bool = False,
    license: str | None = None,
    crops: int = 256,
) -> Checkpoint:
    """Write a run's averaged weights as a model file, with latent statistics over its training data, or, where the
    encoder was frozen, those of the model that it started from, whose latents these are.

    Args:
        run: the run folder.
        target: a `.safetensors` file; a model card is written beside it.
        dtype: of the weights in the file: `float32` or `float16`.
        best: the checkpoint with the best validation instead of the last.
        license: of the weights, for the file and its card; by default that of the model that the run started from.
        crops: training crops that the statistics are taken over.

    Raises:
        InputError: not a run folder, data that has gone, weights that are not finite, or a place that cannot be
            written.
    """
    run, target = Path(run), Path(target)
    check_model_path(target)
    path = run / ("best.pt" if best else "last.pt")
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint; expected the --output folder of music2latent train")
    facts, state = read_run(run), read_state(path)
    if not best and (run / "best.pt").exists():  # it knows of a validation that came after last.pt
        state["best"] = read_state(run / "best.pt")["best"]
    config = config_of(state, path)
    weights = {key.removeprefix("module."): weight for key, weight in state["ema"].items() if key != "n_averaged"}
    checkpoint = Checkpoint(config=config.model, state_dict=weights, model_id=target.stem, latent_scale=1.0)
    folders = [index_folder(folder, weight, run) for folder, weight in facts.data]
    origin = facts.origin
    start = f" from {origin.model}" if origin else ""
    audio = duration(3600 * sum(folder.hours for folder in folders))
    if origin and config.recipe.freeze_encoder:
        latents = _kept(origin)
    else:
        latents = _measured(checkpoint.build(), training_crops(folders, config), crops)
    checkpoint = replace(
        checkpoint,
        **latents,
        provenance=f"trained{start} {state['iteration']} iterations, {state['num_seen']} crops, on {audio} of audio",
        license=license or (origin and origin.license) or "not stated",
    )
    write_safetensors(target, checkpoint, dtype=dtype)
    with replacing(target.with_suffix(".md")) as partial:
        partial.write_text(model_card(checkpoint, _notes(checkpoint, config, state)), encoding="utf-8")
    return checkpoint


def _notes(checkpoint: Checkpoint, config: TrainingConfig, state: dict[str, Any]) -> str:
    """How it was trained, for the model card: the whole recipe as TOML, in which JSON's values may stand."""
    known = math.isfinite(state["best"])
    validated = f"best validated log-spectral distance {state['best']:.2f} dB" if known else "not validated yet"
    values = config.to_dict()
    tables = {name: values[name] for name in ("model", "training")}
    tables |= {f"objectives.{name}": table for name, table in values["objectives"].items()}
    recipe = "\n\n".join(
        "\n".join([f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())])
        for name, table in tables.items()
    )
    return f"Latent scale {checkpoint.latent_scale:.4f}; {validated}.\n\n```toml\n{recipe}\n```"


def _kept(origin: Origin) -> dict[str, Any]:
    """What a checkpoint says of its latents, where they are those of the model that the run started from: chunks too,
    as what an encoder makes of a moment depends on what it sees around it."""
    same = ("latent_scale", "latent_mean", "latent_std", "chunk_plan")
    return {name: getattr(origin, name) for name in same} | {"latents_of": (origin.fingerprint, *origin.latents_of)}


@torch.no_grad()
def _measured(model: Autoencoder, crops: Crops, count: int) -> dict[str, Any]:
    """The same of a new encoder, over so many crops; it works best in chunks of that length, having seen no longer."""
    segments = [spectrogram.segment(crops[index][None], model.config.hop_length) for index in range(count)]
    latents = torch.cat([model.encode(one) for one in segments])
    return {
        "latent_scale": float(latents.square().mean().sqrt()),
        "latent_mean": tuple(latents.mean((0, 2)).tolist()),
        "latent_std": tuple(latents.std((0, 2)).tolist()),
        "chunk_plan": ChunkPlan(latents.shape[-1], min(2, latents.shape[-1] // 4)),
    }
