"""A model between two of one run: python scripts/between.py MODEL OTHER NEW.safetensors --share 0.5

Weights are averaged (Model soups, arXiv 2203.05482), which works where one was trained on from the other; the encoder,
and so the latents, must be the same. The new one has the other's name and provenance.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import torch
import typer

from music2latent.checkpoint import write_safetensors
from music2latent.pretrained import load_checkpoint


def main(
    model: Annotated[str, typer.Argument(help="One model.")],
    other: Annotated[str, typer.Argument(help="One that was trained on from it.")],
    new: Annotated[Path, typer.Argument(help="Where the new one goes.")],
    share: Annotated[float, typer.Option(help="Of the other.", min=0, max=1)] = 0.5,
) -> None:
    """Write it, in float16."""
    one, two = load_checkpoint(model), load_checkpoint(other)
    if one.config != two.config:
        raise typer.BadParameter(f"{model} and {other} are networks of different shapes")
    if one.latent_scale != two.latent_scale or any(
        not weight.equal(two.state_dict[name]) for name, weight in one.state_dict.items() if name.startswith("encoder.")
    ):
        raise typer.BadParameter(f"{model} and {other} have different encoders or scales, and so different latents")
    weights = {
        name: torch.lerp(weight.float(), two.state_dict[name].float(), share) for name, weight in one.state_dict.items()
    }
    latents_of = tuple(dict.fromkeys((one.fingerprint(), two.fingerprint(), *one.latents_of, *two.latents_of)))
    provenance = f"{two.provenance}; of its weights {share:.0%}, of those of {one.model_id} {1 - share:.0%}"
    write_safetensors(
        new, dataclasses.replace(two, state_dict=weights, latents_of=latents_of, provenance=provenance), dtype="float16"
    )


if __name__ == "__main__":
    typer.run(main)
