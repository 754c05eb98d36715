"""How much of the music's fine structure do latents hold? python scripts/known.py CORPUS --model mini --features

Levels of narrow bands in windows of two latents (as for the objective `readout`) are regressed on the latents of
training crops, and predicted for crops of held-out music. Beside them what so many principal components of the levels
themselves hold: the most that as many channels can, read linearly.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache, partial
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


@cache
def crops(folder: Path, count: int, rate: int, samples: int) -> Tensor:
    """`[count, samples]`, always the same ones."""
    with tempfile.TemporaryDirectory() as work:
        drawn = Crops([index_folder(folder, 1.0, Path(work))], rate, samples, seed=1, min_rms=0.01)
        return torch.stack([drawn[index] for index in range(count)])


@torch.no_grad()
def encode(model: Autoencoder, audio: Tensor, *, features: bool = False) -> Tensor:
    """The latents, `[frames, D]`, or the encoder's features."""
    network = model.encode_features if features else model.encode
    parts = [network(spectrogram.segment(x, model.config.hop_length)) for x in audio.split(16)]
    return torch.cat(parts).transpose(1, 2).flatten(0, 1)


def own_levels(model: Autoencoder, audio: Tensor) -> Tensor:
    """Log magnitudes of the model's spectrogram, averaged over the columns of each latent, `[frames, F]`."""
    x = torch.cat([spectrogram.spectrogram(part, model.config.hop_length) for part in audio.split(16)])
    magnitudes = x.square().sum(1).sqrt().unflatten(2, (-1, model.config.columns_per_latent)).mean(3)
    return (magnitudes + 1e-3).log().transpose(1, 2).flatten(0, 1)


def told(known: Tensor, wanted: Tensor, asked: Tensor) -> Tensor:
    """A ridge regression's answer."""
    ridge = 0.01 * float((known - known.mean(0)).square().sum(0).mean())
    return torch.from_numpy(Ridge(alpha=ridge).fit(known.numpy(), wanted.numpy()).predict(asked.numpy())).float()


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
    features: Annotated[bool, typer.Option(help="Of the encoder's features and of its input too.")] = False,
    count: Annotated[int, typer.Option(help="Training crops; a fifth as many are held out.")] = 900,
) -> None:
    """Print a Markdown table."""
    keep_freed_memory()
    print("| levels from | levels | fine structure | error (dB) |\n|---|---:|---:|---:|")
    for name in models or ["mini"]:
        model = load_model(name)
        config = TrainingConfig(model=model.config)
        sets = [
            crops(corpus / folder, n, model.config.sample_rate, config.crop_samples)
            for folder, n in (("train/music", count), ("validation/music", count // 5))
        ]
        wanted, truth = (readable_levels(audio, model.config)[0].flatten(0, 1) for audio in sets)
        sources: dict[str, Callable[[Autoencoder, Tensor], Tensor]] = {name: encode}
        if features:
            sources |= {f"{name}, features": partial(encode, features=True), f"{name}, its input": own_levels}
        for source, read in sources.items():
            known, asked = (read(model, audio) for audio in sets)
            print(f"| {source} | {explained(told(known, wanted, asked), truth)} |", flush=True)
    mean = wanted.mean(0)
    directions = torch.linalg.eigh((wanted - mean).T @ (wanted - mean)).eigenvectors.flip(1)
    for number in COMPONENTS:
        kept = directions[:, :number]
        print(f"| {number} principal components | {explained((truth - mean) @ kept @ kept.T + mean, truth)} |")


if __name__ == "__main__":
    typer.run(main)
