"""Where do decoders lose the music's fine structure? python scripts/drawn.py CORPUS [--model mini ...]

Of held-out crops: the shares of variance of the spectrogram's levels, and of their fine structure, that are told by a
linear map of each place of the upsampler's finest maps, of the levels of the denoiser's output, and of those of the
audio made of it. The output and its audio differ where phases of neighbouring columns do not fit together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from known import crops
from torch import Tensor

from music2latent import spectrogram
from music2latent.autoencoder import Autoencoder
from music2latent.devices import keep_freed_memory
from music2latent.pretrained import load_model
from music2latent.training.config import TrainingConfig
from music2latent.training.objectives.distillation import untold
from music2latent.training.objectives.linear_readout import LinearReadout
from music2latent.training.objectives.pyramid import AROUND, column_levels
from music2latent.training.objectives.readout import fine_structure


def share(found: Tensor, wanted: Tensor) -> str:
    """Of the variance that is told."""
    return f"{100 * (1 - float(untold(found, wanted))):.1f} %"


def sources(model: Autoencoder, audio: Tensor, seed: int) -> tuple[dict[str, Tensor], Tensor]:
    """What the levels of crops are read from, `[B, C, T, F]` each, and the levels, where nothing fades."""
    hop, edge = model.config.hop_length, model.config.edge
    x = spectrogram.spectrogram(audio, hop)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    pyramid = model.decoder(model.encoder(x))
    sigma_max = model.config.sigma_max
    output = model.denoise(sigma_max * noise, noise.new_full((len(x),), sigma_max), pyramid)
    heard, wanted = (
        column_levels(spectrogram.spectrogram(one[:, edge:-edge], hop)) for one in (spectrogram.inverse(output), audio)
    )
    columns = slice(edge // hop, edge // hop + wanted.shape[2])
    maps = pyramid[0].transpose(2, 3)[:, :, columns]
    return {"upsampler": maps, "output": column_levels(output[..., columns]), "audio": heard}, wanted


@torch.no_grad()
def main(
    corpus: Annotated[Path, typer.Argument(help="What scripts/corpus.py built.")],
    models: Annotated[list[str] | None, typer.Option("--model", help="Whose decoder; mini by default.")] = None,
    count: Annotated[int, typer.Option(help="Crops that maps are fitted to, and as many that are held out.")] = 128,
) -> None:
    """Print a Markdown table."""
    keep_freed_memory()
    print("| levels from | levels | fine structure |\n|---|---:|---:|")
    for name in models or ["mini"]:
        model = load_model(name)
        rate, samples = model.config.sample_rate, TrainingConfig(model=model.config).crop_samples
        readouts: dict[str, LinearReadout] = {}
        told: dict[str, list[tuple[Tensor, Tensor]]] = {}
        for part in crops(corpus / "train/music", count, rate, samples).split(8):
            found, wanted = sources(model, part, 0)
            for source, maps in found.items():
                readouts.setdefault(source, LinearReadout(maps.shape[1], 1))(maps, wanted)
        for readout in readouts.values():
            readout.learn()
        for part in crops(corpus / "validation/music", count, rate, samples).split(8):
            found, wanted = sources(model, part, 1)
            for source, maps in found.items():
                told.setdefault(source, []).append((readouts[source](maps, wanted), wanted))
        for source, pairs in told.items():
            levels = [torch.cat(part) for part in zip(*pairs, strict=True)]
            structures = [fine_structure(level, AROUND) for level in levels]
            print(f"| {name}, {source} | {share(*levels)} | {share(*structures)} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
