"""What share of each part of a loss is due to partials: python scripts/loss_shares.py CORPUS/validation/music

Partials are the main lobes (two bins to either side) of spectral peaks 12 dB above the median of the 33 bins around.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from diagnose import OTHERS, decode, draw
from torch import Tensor

from music2latent.pretrained import load_model
from music2latent.stft import SILENT, magnitudes
from music2latent.training.config import TrainingConfig

NEAR, ABOVE, LOBE = 16, 4.0, 2
"""Bins to either side, factor of magnitude, bins to either side."""


def partials(magnitude: Tensor) -> Tensor:
    """Which bins of magnitudes `[B, T, F]` belong to partials."""
    padded = F.pad(magnitude, (NEAR, NEAR), mode="replicate")
    median = padded.unfold(2, 2 * NEAR + 1, 1).median(-1).values
    largest = F.max_pool1d(magnitude, 3, 1, 1)
    peaks = (magnitude == largest) & (magnitude > ABOVE * median) & (magnitude > SILENT)
    return F.max_pool1d(peaks.float(), 2 * LOBE + 1, 1, LOBE) > 0


@torch.no_grad()
def main(
    folder: Annotated[Path, typer.Argument(help="Where the crops come from.")],
    name: Annotated[str, typer.Option("--model", help="Whose reconstructions are measured.")] = "mini",
) -> None:
    """Print a Markdown table."""
    model = load_model(name)
    config = dataclasses.replace(TrainingConfig(), model=model.config)
    with tempfile.TemporaryDirectory() as work:
        audio = draw(folder, OTHERS, 7, Path(work), config)[0]
    before, after = audio[:, model.config.edge : -model.config.edge], decode(model, audio, 0)
    print("| window | bins | energy | log difference | convergence, squared | weighted log |\n|---:|" + "---:|" * 5)
    for size in (512, 2048, 4096, 8192):
        wanted, found = (magnitudes(x, size, pad=True) for x in (before, after))
        logs = ((found + SILENT) / (wanted + SILENT)).log().abs()
        scale = wanted.flatten(1).norm(dim=1)[:, None, None]  # crops count alike
        chosen = partials(wanted)
        weights = wanted**0.6 / (wanted**0.6).sum((1, 2), keepdim=True)
        parts = (torch.ones_like(logs), (wanted / scale) ** 2, logs, ((found - wanted) / scale) ** 2, weights * logs)
        shares = [f"{100 * float(part[chosen].sum() / part.sum()):.1f} %" for part in parts]
        print(f"| {size} | " + " | ".join(shares) + " |")


if __name__ == "__main__":
    typer.run(main)
