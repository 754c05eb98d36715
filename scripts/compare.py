"""What should a model be trained on? Variants of a recipe from the same weights, for the same minutes, side by side.

python scripts/compare.py CORPUS OUT --minutes 20 [--only harmonic ...]

Every variant is trained with averaged weights at a constant learning rate, and measured by `music2latent evaluate` on
the corpus' held-out music beside the weights that all began with; OUT/report/report.md says which are better. Variants
that are trained already are not trained again, so that a comparison may be spread over days.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

CLI = (sys.executable, "-m", "music2latent")
HARMONIC = ("objectives.spectral.weight=0", "objectives.harmonic.weight=1")
VARIANTS: dict[str, tuple[str, ...]] = {
    "spectral": (),
    "harmonic": HARMONIC,
    "harmonic-spectral": ("objectives.spectral.weight=0.3", "objectives.harmonic.weight=1"),
    "harmonic-dimension": (*HARMONIC, "objectives.dimension.weight=0.1"),
    "harmonic-readout": (*HARMONIC, "objectives.readout.weight=0.3"),
    "harmonic-noise": (*HARMONIC, "latent_noise=0.1"),
    "harmonic-waveform": (*HARMONIC, "objectives.waveform.weight=0.3"),
    "harmonic-energy": (*HARMONIC, "objectives.energy.weight=0.5"),
    "harmonic-consistency": (*HARMONIC, "objectives.consistency.weight=1"),
    "harmonic-long": (*HARMONIC, "crop_columns=128", "batch_size=4"),
    "bands": ("objectives.spectral.weight=0", "objectives.bands.weight=1"),
    "energy": ("objectives.spectral.weight=0", "objectives.energy.weight=1"),
}
"""Settings beside those of the recipe."""


def train(name: str, corpus: Path, folder: Path, init_from: str, minutes: float, lr: float) -> Path:
    """A variant's weights, in chunks of 64 latents."""
    weights = folder / f"{name}.safetensors"
    if weights.exists():
        return weights
    constant = (f"lr={lr}", f"final_lr={lr}", "warmup=20", "ema_decay=0.98", "log_every=20")
    settings = [part for setting in (*constant, *VARIANTS[name]) for part in ("--set", setting)]
    data = [f"--data={corpus / 'train/music'}", f"--data={corpus / 'train/speech'}=0.3"]
    run, whole = folder / name, folder / f"{name}-as-trained.safetensors"
    for command in (
        ("train", "mini", "--init-from", init_from, *data, *settings, "--max-minutes", minutes, "--output", run),
        ("export-weights", run, whole, "--force"),
        ("convert", whole, weights, "--chunk", 64, 4),
    ):
        subprocess.run([*CLI, *map(str, command)], check=True)
    return weights


def main(
    corpus: Annotated[Path, typer.Argument(help="What scripts/corpus.py built.")],
    folder: Annotated[Path, typer.Argument(help="Where runs, weights and the report go.")],
    minutes: Annotated[float, typer.Option(help="Of training, each.")] = 20,
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(VARIANTS)}.")] = None,
    init_from: Annotated[str, typer.Option(help="Where all begin.")] = "mini",
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 4e-4,
) -> None:
    """Train and measure."""
    folder.mkdir(parents=True, exist_ok=True)
    found = [train(name, corpus, folder, init_from, minutes, lr) for name in only or VARIANTS]
    models = [part for path in (init_from, *found) for part in ("--model", str(path))]
    options = ("--limit", "24", "--seconds", "8", "--seeds", "2", "--output", str(folder / "report"), "--force")
    subprocess.run([*CLI, "evaluate", str(corpus / "validation/music"), *models, *options], check=True)


if __name__ == "__main__":
    typer.run(main)
