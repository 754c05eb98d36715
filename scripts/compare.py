"""What should a model be trained on? Variants of the recipe from the same weights, for the same minutes, side by side.

python scripts/compare.py CORPUS OUT --minutes 20 [--only energy ...]

Every variant is the recipe `mini` with one thing left out, added or changed. It is trained with averaged weights at a
constant learning rate, the encoder as it is, and measured by `music2latent evaluate` on the corpus' held-out music
beside the recipe itself; OUT/report/report.md says which are better. Variants that are trained already are not trained
again, so that a comparison may be spread over days.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

CLI = (sys.executable, "-m", "music2latent")
COMMON = ("lr=4e-4", "final_lr=4e-4", "warmup=20", "ema_decay=0.98", "freeze_encoder=true", "batch_size=4")
"""Settings of all variants, beside those of the recipe."""
VARIANTS: dict[str, tuple[str, ...]] = {
    "recipe": (),
    "without-spectral": ("objectives.spectral.weight=0",),
    "without-harmonic": ("objectives.harmonic.weight=0",),
    "without-bands": ("objectives.bands.weight=0",),
    "without-loudness": ("objectives.loudness.weight=0",),
    "without-constant-q": ("objectives.constant_q.weight=0",),
    "pyramid": ("objectives.pyramid.weight=0.5",),
    "waveform": ("objectives.waveform.weight=0.3",),
    "energy": ("objectives.energy.weight=0.5",),
    "consistency": ("objectives.consistency.weight=1",),
    "adversarial": ("objectives.adversarial.weight=0.3",),
    "latent-noise": ("latent_noise=0.1",),
    "latent-dropout": ("latent_dropout=0.5",),
    "second-steps": ("objectives.spectral.second=0.25",),
    "long-crops": ("crop_columns=128", "batch_size=2"),
    "encoder": ("freeze_encoder=false",),
}
"""Settings beside those."""


def train(name: str, corpus: Path, folder: Path, init_from: str, minutes: float, common: list[str]) -> Path:
    """A variant's weights, in chunks of 64 latents."""
    weights = folder / f"{name}.safetensors"
    if weights.exists():
        return weights
    settings = [f"--set={setting}" for setting in (*COMMON, *common, *VARIANTS[name])]
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
    only: Annotated[list[str] | None, typer.Option(help=f"Beside the recipe, of {', '.join(VARIANTS)}.")] = None,
    init_from: Annotated[str, typer.Option(help="Where all begin.")] = "mini",
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE for all, as in training.")] = None,
) -> None:
    """Train and measure."""
    folder.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys(["recipe", *(only or VARIANTS)])
    found = [train(name, corpus, folder, init_from, minutes, settings or []) for name in names]
    models = [part for path in (*found, init_from) for part in ("--model", str(path))]
    options = ("--limit", "24", "--seconds", "6", "--seeds", "1", "--output", str(folder / "report"), "--force")
    subprocess.run([*CLI, "evaluate", str(corpus / "validation/music"), *models, *options], check=True)


if __name__ == "__main__":
    typer.run(main)
