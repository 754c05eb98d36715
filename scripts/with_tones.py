"""A model -> the same that also measures and draws tones: python scripts/with_tones.py MODEL NEW.safetensors

It encodes and decodes as before, the new weights are zero; gains of tones begin with --gain once their levels are told.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import torch
import typer

from music2latent.autoencoder import parameter_shapes
from music2latent.checkpoint import write_safetensors
from music2latent.pretrained import load_checkpoint

SILENT = -16.0
"""The level of every tone, in units of 10 dB, until it is told: none is heard."""


def main(
    model: Annotated[str, typer.Argument(help="A model without tones, or one that does not measure them.")],
    new: Annotated[Path, typer.Argument(help="Where the new one goes.")],
    gain: Annotated[float, typer.Option(help="What the denoiser begins to multiply tones with.")] = 0.7,
) -> None:
    """Write it."""
    checkpoint = load_checkpoint(model)
    config = dataclasses.replace(checkpoint.config, tones=True, tone_features=True)
    if checkpoint.config == config:
        raise typer.BadParameter(f"{model} has tones already")
    weights = {}
    for name, shape in parameter_shapes(config).items():
        weights[name] = torch.zeros(shape)
        if name in checkpoint.state_dict:
            old = checkpoint.state_dict[name]
            weights[name][tuple(map(slice, old.shape))] = old.float()
    if not checkpoint.config.tones:
        weights["decoder.tones.levels.bias"].fill_(SILENT)
        weights["conv_out.bias"][2] = gain
    write_safetensors(new, dataclasses.replace(checkpoint, config=config, state_dict=weights))


if __name__ == "__main__":
    typer.run(main)
