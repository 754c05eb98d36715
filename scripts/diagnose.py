"""Can a network draw the harmonics of a few crops at all, when it trains on nothing else?

python scripts/diagnose.py CORPUS/train/music --objectives harmonic --init-from mini
python scripts/diagnose.py CORPUS/train/music --objectives harmonic,dimension --set model.base_channels=32

Trains as `music2latent train` does, on the same crops at every iteration and at a constant learning rate, and prints a
table row of figures of those crops, decoded in one step by the averaged weights with noise that is always the same.
"""

from __future__ import annotations

import copy
import dataclasses
import tempfile
import time
from itertools import repeat
from pathlib import Path
from typing import Annotated, cast

import librosa
import numpy as np
import torch
import typer
from torch import Tensor

from music2latent import spectrogram
from music2latent.autoencoder import Autoencoder
from music2latent.covariance import effective_dimension
from music2latent.devices import keep_freed_memory
from music2latent.noise import keyed_noise
from music2latent.pretrained import load_checkpoint
from music2latent.stft import log_spectral_distance, magnitudes
from music2latent.training.config import TrainingConfig, load_config
from music2latent.training.data import Crops, index_folder
from music2latent.training.log import Totals
from music2latent.training.loop import make_accelerator
from music2latent.training.objectives import OBJECTIVES, Spectral
from music2latent.training.objectives.harmonic import weighted_log_difference
from music2latent.training.objectives.spectral import spectral_distance
from music2latent.training.run import Run

DRAWN = 65536
"""Samples of the pieces that crops are cut from, in the middle: models with other spectrograms get the same music."""
CANDIDATES = 96
LOWEST = 65.41
"""Hz, C2, of six octaves: filters an octave lower are longer than the crops."""
OTHERS = 32
"""Pieces beside the crops that are encoded, because so few crops cannot fill all channels."""


def draw(folder: Path, count: int, seed: int, work: Path, config: TrainingConfig) -> tuple[Tensor, Tensor]:
    """The `count` most tonal of loud pieces, and others, each cut to crops: `[count, n]`, `[OTHERS, n]`."""
    rate = config.model.sample_rate
    pieces = Crops([index_folder(folder, 1.0, work)], rate, DRAWN, seed=seed, min_rms=0.05)
    first = (DRAWN - config.crop_samples) // 2
    drawn = torch.stack([pieces[i][first : first + config.crop_samples] for i in range(CANDIDATES)])
    # Spectral flatness where partials are heard: low if few bins have the energy of all.
    power = magnitudes(drawn, 4096, pad=True)[..., 100 * 4096 // rate : 5000 * 4096 // rate].square() + 1e-10
    flatness = (power.log().mean(-1).exp() / power.mean(-1)).mean(-1)
    order = flatness.argsort()
    return drawn[order[:count]], drawn[order[count : count + OTHERS]]


def tonal(estimate: np.ndarray, reference: np.ndarray, rate: int) -> tuple[float, float]:
    """Mean cosine of chroma vectors, and mean difference of semitones' levels in dB, 80 dB under the loudest."""
    one, two = (np.abs(librosa.cqt(x, sr=rate, fmin=LOWEST, n_bins=72, tuning=0.0)) for x in (estimate, reference))
    chroma = [librosa.feature.chroma_cqt(C=c, fmin=LOWEST, bins_per_octave=12, norm=2) for c in (one, two)]
    floor = 1e-4 * float(two.max())
    levels = [20 * np.log10(np.maximum(c, floor)) for c in (one, two)]
    return float((chroma[0] * chroma[1]).sum(0).mean()), float(np.abs(levels[0] - levels[1]).mean())


def convergence(estimate: Tensor, reference: Tensor, size: int) -> Tensor:
    """Spectral convergence of audio `[B, n]`, `[B]`, relative to the reference."""
    one, two = (magnitudes(x, size, pad=True).flatten(1) for x in (estimate, reference))
    return (one - two).norm(dim=1) / two.norm(dim=1)


@torch.no_grad()
def decode(model: Autoencoder, audio: Tensor, seed: int) -> Tensor:
    """audio `[B, n]`, encoded and decoded in one step, where nothing fades."""
    config, decoded = model.config, []
    for crop in audio.split(1):
        pyramid = model.decoder(model.encode(spectrogram.segment(crop, config.hop_length)))
        noise = config.sigma_max * keyed_noise(seed, 0, 0, crop.shape[-1] // config.frame_size, config)[None]
        decoded.append(spectrogram.inverse(model.denoise(noise, torch.tensor([config.sigma_max]), pyramid)))
    return torch.cat(decoded)[:, config.edge : -config.edge]


@torch.no_grad()
def figures(model: Autoencoder, audio: Tensor, others: Tensor) -> dict[str, float]:
    """Figures of crops `[B, n]` by their column titles."""
    config = model.config
    before, after, again = audio[:, config.edge : -config.edge], decode(model, audio, 0), decode(model, audio, 1)
    found = {"old loss": float(spectral_distance(after, before, Spectral().sizes).mean())}
    for size in (2048, 8192):
        found[f"convergence {size}"] = float(convergence(after, before, size).mean())
    for size in (4096, 8192):
        one, two = (magnitudes(x, size, pad=True) for x in (after, before))
        found[f"weighted log {size}"] = float(weighted_log_difference(one, two, 0.6).mean())
    pairs = [tonal(a.numpy(), b.numpy(), config.sample_rate) for a, b in zip(after, before, strict=True)]
    found["chroma"], found["constant-Q dB"] = (float(np.mean(column)) for column in zip(*pairs, strict=True))
    error = (after - before).square().sum(1)
    found["SNR dB"] = float((10 * (before.square().sum(1) / error).log10()).mean())
    apart = log_spectral_distance(after, again) / log_spectral_distance(after, before)
    found["two seeds"] = float(apart.mean())
    for name, batch in {"dimension": audio, "dimension elsewhere": others}.items():
        latents = model.encode(spectrogram.segment(batch, config.hop_length))
        found[name] = float(effective_dimension(latents))
    return found


def main(
    folder: Annotated[Path, typer.Argument(help="Where the crops come from.")],
    objectives: Annotated[str, typer.Option(help="Names with commas, NAME=WEIGHT for a weight.")] = "spectral",
    init_from: Annotated[str | None, typer.Option(help="Weights to start from; new ones by default.")] = None,
    recipe: Annotated[str, typer.Option(help="Everything else.")] = "mini",
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, as in training.")] = None,
    report: Annotated[str, typer.Option(help="Iterations to measure at; it ends at the last.")] = "0,200,1000,3000",
    crops: Annotated[int, typer.Option(help="How many.")] = 8,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 7,
    label: Annotated[str, typer.Option(help="First column of the table; the objectives by default.")] = "",
    keep: Annotated[Path | None, typer.Option(help="Where to write the crops and what became of them.")] = None,
) -> None:
    """Overfit a few crops and print a Markdown table."""
    stops = [int(number) for number in report.split(",")]
    config = load_config(recipe, settings or [])
    constant = dataclasses.replace(
        config.recipe, iterations=stops[-1] + 1, final_lr=config.recipe.lr, batch_size=crops, workers=0
    )
    parts = {name: float(weight or 1) for name, _, weight in (part.partition("=") for part in objectives.split(","))}
    chosen = {name: OBJECTIVES[name](weight=weight) for name, weight in parts.items()}  # type: ignore[call-arg]
    config = dataclasses.replace(config, recipe=constant, objectives=chosen)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as work:
        audio, others = draw(folder, crops, seed, Path(work), config)
        run = Run(config, [index_folder(folder, 1.0, Path(work))], Path(work), make_accelerator(constant))
        if init_from:
            run.start_from(load_checkpoint(init_from))
        totals = Totals(begun=time.perf_counter())
        for stop in stops:
            while run.iteration < stop:
                run.iterate(repeat(audio), totals)
            model = copy.deepcopy(cast(Autoencoder, run.ema.module)).cpu()
            found = figures(model, audio, others)
            if stop == stops[0]:
                print("| objectives | iterations | " + " | ".join(found) + " |", flush=True)
                print("|---|---:|" + "---:|" * len(found), flush=True)
            row = " | ".join(f"{value:.3f}" for value in found.values())
            print(f"| {label or objectives} | {stop} | {row} |", flush=True)
        if keep:
            np.savez(keep, before=audio[:, config.model.edge : -config.model.edge], after=decode(model, audio, 0))


if __name__ == "__main__":
    typer.run(main)
