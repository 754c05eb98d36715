"""A run's averaged weights -> a model file, with latent statistics and a model card."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from .. import spectrogram
from ..autoencoder import Autoencoder
from ..checkpoint import Checkpoint, write_safetensors
from ..errors import InputError
from ..files import replacing
from .config import TrainingConfig
from .data import Crops, index_folder
from .folder import read_state
from .log import model_card
from .loop import training_crops


def export_weights(run: Path, target: Path, *, half: bool = False, best: bool = False, crops: int = 256) -> Checkpoint:
    """Write a run's averaged weights as a model file, with latent statistics over its training data.

    Args:
        run: the run folder.
        target: a `.safetensors` file; a model card is written beside it.
        half: round the weights to float16.
        best: the checkpoint with the best validation instead of the last.
        crops: training crops that the statistics are taken over.

    Raises:
        InputError: not a run folder, data that has gone, or a place that cannot be written.
    """
    path = run / ("best.pt" if best else "last.pt")
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint; expected the --output folder of music2latent train")
    state, facts = read_state(path), json.loads((run / "run.json").read_text())
    config = TrainingConfig.from_dict(json.loads(state["config"]))
    model = Autoencoder(config.model)
    weights = {key.removeprefix("module."): weight for key, weight in state["ema"].items() if key != "n_averaged"}
    model.load_state_dict(weights)
    sources = [index_folder(Path(folder), weight, run) for folder, weight in facts["data"]]
    latents = _latents_of(model.eval(), training_crops(sources, config), crops)
    hours = sum(source.hours for source in sources)
    crop = config.recipe.crop_frames // config.model.frames_per_latent  # longer windows are not what it has seen
    checkpoint = Checkpoint(
        config.model,
        weights,
        target.stem,
        latent_scale=float(latents.square().mean().sqrt()),
        latent_mean=tuple(latents.mean((0, 2)).tolist()),
        latent_std=tuple(latents.std((0, 2)).tolist()),
        window=(crop, min(2, crop // 4)),
        provenance=f"trained {state['iteration']} iterations, {state['num_seen']} crops, on {hours:.1f} hours of audio",
        license="set by its trainer",
    )
    write_safetensors(target, checkpoint, half=half)
    with replacing(target.with_suffix(".md")) as partial:
        partial.write_text(model_card(checkpoint, config, state))
    return checkpoint


@torch.no_grad()
def _latents_of(model: Autoencoder, crops: Crops, count: int) -> Tensor:
    frames = [spectrogram.frame(crops[index][None], model.config.hop_length) for index in range(count)]
    return torch.cat([model.encode(one) for one in frames])
