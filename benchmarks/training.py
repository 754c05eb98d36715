"""How fast a training step is: the recipe as it stands against plain float32 PyTorch, in turn, on this machine.

    python benchmarks/training.py [configs/mini.toml] [--data DIR] [--iterations 60] [--rounds 2]

Both sides are `music2latent train` with the same seed: the same crops, noise and initial weights, on data decoded
once. "Plain" is float32 in the default layout, with PyTorch's own normalisation and the C library's own handling of
memory. Writes benchmarks/training.md.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from music2latent.training.config import load_config

ROOT = Path(__file__).parent.parent
PLAIN = ["precision=no", "channels_last=false", "compile=false"]
PLAIN_MAIN = """
from music2latent.cli import main
from music2latent.nn import fused
from music2latent.training import loop
fused.library = loop.keep_freed_memory = lambda: None
main()
"""
LOGGED, SKIPPED = 5, 2
"""Iterations a line of figures, and lines left out at the start, while caches fill."""


@dataclass(frozen=True)
class Side:
    """What one run measured."""

    losses: list[float]
    crops_per_second: float
    waiting_for_data: float
    peak_bytes: int


def measure(config: Path, data: list[str], decoded: str, iterations: int, workers: int, plain: bool) -> Side:
    """Train for so many iterations in a process of its own."""
    settings = [f"iterations={iterations}", "warmup=5", f"log_every={LOGGED}", f"workers={workers}"]
    settings += PLAIN if plain else []
    with tempfile.TemporaryDirectory() as folder:
        program = ["-c", PLAIN_MAIN] if plain else ["-m", "music2latent"]
        command = [sys.executable, *program, "train", str(config), "--output", folder]
        command.append(f"--decode-to={decoded}")
        command += [f"--data={one}" for one in data] + [f"--set={one}" for one in settings]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise typer.Exit(1)
        rows = [json.loads(line) for line in (Path(folder) / "stats.jsonl").read_text().splitlines()]
    kept = rows[SKIPPED:]
    seconds = [1 / row["crops_per_second"] for row in kept]  # per crop
    waiting = sum(row["waiting_for_data"] * one for row, one in zip(kept, seconds, strict=True)) / sum(seconds)
    return Side([row["loss"] for row in rows], 1 / statistics.median(seconds), waiting, usage.ru_maxrss * 1024)


def main(
    config: Annotated[Path, typer.Argument(help="The recipe.")] = ROOT / "configs" / "mini.toml",
    data: Annotated[list[str] | None, typer.Option(help="Audio, as for `music2latent train`.")] = None,
    iterations: Annotated[int, typer.Option(min=20, help="Optimizer steps of every run.")] = 60,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of either side, in turn.")] = 2,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read data.")] = 2,
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = ROOT / "benchmarks" / "training.md",
) -> None:
    """Measure both sides in turn and write the table."""
    folders = data or [str(ROOT / "examples")]
    sides: dict[str, list[Side]] = {"plain float32": [], "the recipe": []}
    with tempfile.TemporaryDirectory() as decoded:
        for _ in range(rounds):
            for name, runs in sides.items():
                runs.append(measure(config, folders, decoded, iterations, workers, plain=name == "plain float32"))
    batch = load_config(config).recipe.batch_size
    lines = [
        "| | iterations / s | crops / s | peak memory | waiting for data |",
        "|---|---:|---:|---:|---:|",
    ]
    rates = {}
    for name, runs in sides.items():
        rates[name] = statistics.mean(run.crops_per_second for run in runs)
        peak, waiting = max(run.peak_bytes for run in runs), statistics.mean(run.waiting_for_data for run in runs)
        lines.append(
            f"| {name} | {rates[name] / batch:.2f} | {rates[name]:.1f} | {peak / 1e9:.2f} GB | {waiting:.1%} |"
        )
    plain, recipe = sides.values()
    pairs = zip(plain[0].losses, recipe[0].losses, strict=True)
    apart = statistics.mean(abs(b - a) / a for a, b in pairs)
    text = (
        f"`{config.name}`, {batch} crops a step, {workers} workers, {rounds} runs of {iterations} iterations in turn, "
        f"on {processor()}, torch {torch.__version__}.\n\n" + "\n".join(lines) + "\n\n"
        f"The recipe is {rates['the recipe'] / rates['plain float32']:.2f} times as fast. The loss goes from "
        f"{plain[0].losses[0]:.2f} to {plain[0].losses[-1]:.2f} in float32, from {recipe[0].losses[0]:.2f} to "
        f"{recipe[0].losses[-1]:.2f} with the recipe; on average the two curves are {apart:.1%} apart.\n"
    )
    typer.echo(text)
    output.write_text("# Training speed\n\n    python benchmarks/training.py\n\n" + text)


def processor() -> str:
    """Name and count of the cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    return f"{torch.get_num_threads()} cores of {name}"


if __name__ == "__main__":
    typer.run(main)
