"""How much of the music's fine structure do latents hold? python scripts/known.py CORPUS [--model mini ...]

Levels of narrow bands in windows of two latents (as for the objective `readout`) are regressed on the latents of
training crops, and predicted for crops of held-out music. Beside them what so many principal components of the levels
themselves hold: the most that as many channels can, read linearly.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from sklearn.linear_model import Ridge
from torch import Tensor

from music2latent import spectrogram
from music2latent.autoencoder import Autoencoder
from music2latent.devices import keep_freed_memory
from music2latent.pretrained import load_model
from music2latent.training.config import TrainingConfig
from music2latent.training.data import Crops, index_folder
from music2latent.training.objectives.readout import fine_structure, readable_levels

COMPONENTS = (10, 32, 64, 128)


def crops(folder: Path, count: int, config: TrainingConfig) -> Tensor:
    """`[count, n]`, always the same ones."""
    with tempfile.TemporaryDirectory() as work:
        drawn = Crops(
            [index_folder(folder, 1.0, Path(work))], config.model.sample_rate, config.crop_samples, seed=1, min_rms=0.01
        )
        return torch.stack([drawn[index] for index in range(count)])


@torch.no_grad()
def encode(model: Autoencoder, audio: Tensor) -> Tensor:
    """The latents, `[frames, D]`."""
    parts = [model.encode(spectrogram.segment(x, model.config.hop_length)) for x in audio.split(16)]
    return torch.cat(parts).transpose(1, 2).flatten(0, 1)


def explained(found: Tensor, wanted: Tensor) -> str:
    """Shares of variance: of the levels, of their fine structure; and the mean error in dB."""
    pairs = (found, wanted), (fine_structure(found), fine_structure(wanted))
    shares = [1 - (a - b).square().sum() / (b - b.mean(0)).square().sum() for a, b in pairs]
    return " | ".join(
        [*(f"{100 * float(share):.1f} %" for share in shares), f"{10 * (found - wanted).abs().mean():.2f}"]
    )


def main(
    corpus: Annotated[Path, typer.Argument(help="What scripts/corpus.py built.")],
    models: Annotated[list[str] | None, typer.Option("--model", help="Whose latents; mini by default.")] = None,
    count: Annotated[int, typer.Option(help="Training crops; a fifth as many are held out.")] = 900,
) -> None:
    """Print a Markdown table."""
    keep_freed_memory()
    print("| levels from | levels | fine structure | error (dB) |\n|---|---:|---:|---:|")
    for name in models or ["mini"]:
        model = load_model(name)
        config = TrainingConfig(model=model.config)
        sets = [
            crops(corpus / folder, n, config)
            for folder, n in (("train/music", count), ("validation/music", count // 5))
        ]
        known, asked = (encode(model, audio) for audio in sets)
        wanted, truth = (readable_levels(audio, model.config)[0].flatten(0, 1) for audio in sets)
        readout = Ridge(alpha=1.0).fit(known.numpy(), wanted.numpy())
        found = torch.from_numpy(readout.predict(asked.numpy())).float()
        print(f"| {name} | {explained(found, truth)} |", flush=True)
    mean = wanted.mean(0)
    directions = torch.linalg.eigh((wanted - mean).T @ (wanted - mean)).eigenvectors.flip(1)
    for number in COMPONENTS:
        kept = directions[:, :number]
        print(f"| {number} principal components | {explained((truth - mean) @ kept @ kept.T + mean, truth)} |")


if __name__ == "__main__":
    typer.run(main)
