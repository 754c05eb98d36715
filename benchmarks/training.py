"""How fast a training step is: the recipe as it stands against plain float32 PyTorch, steps in turn.

    python benchmarks/training.py [mini] [--data DIR] [--iterations 25]

All start from the same weights and see the same crops and noise, of cached data. "Plain" is what the same loop
is without this project's work: float32, the default layout, PyTorch's own normalisation and attention, the system's own
way with freed memory. "Memory kept" is that with `keep_freed_memory`. Each is a process; they take steps in turn, so
that whatever else the machine does falls on all. Then the recipe trains on its own, for the time it waits for data.
Writes benchmarks/training.md.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import torch
import typer
from machine import processor
from torch.nn import functional

from music2latent.devices import keep_freed_memory
from music2latent.nn import layers
from music2latent.training.config import load_config
from music2latent.training.data import AudioFolder, cache_audio, index_folder, parse_folder
from music2latent.training.log import Totals
from music2latent.training.loop import make_accelerator
from music2latent.training.run import Run

ROOT = Path(__file__).parent.parent
PLAIN = ["precision=no", "channels_last=false", "compile=false"]
SIDES = {"plain float32": (PLAIN, False), "plain, memory kept": (PLAIN, True), "the recipe": ([], True)}
"""Settings, and whether freed memory is kept."""
SKIPPED = 5
"""First steps, in which caches fill."""
ALONE = 30
"""Steps of the recipe on its own."""
SETTINGS = ["workers=2", "warmup=5"]


def take_steps(connection: Connection, config: str, data: list[AudioFolder], side: str) -> None:
    """A step for every True that comes, answered with its seconds and its loss; then the peak memory in bytes."""
    own, keep = SIDES[side]
    if keep:
        keep_freed_memory()
    resolved = load_config(config, [*SETTINGS, *own])
    with tempfile.TemporaryDirectory() as folder:
        run = Run(resolved, data, Path(folder), make_accelerator(resolved.recipe))
        if own:
            layers.attention = functional.scaled_dot_product_attention
        batches = run.batches()
        while connection.recv():
            totals, begun = Totals(), time.perf_counter()
            run.iterate(batches, totals)
            assert totals.sums is not None, "a step without a finite loss"
            connection.send((time.perf_counter() - begun, totals.sums["loss"]))
    connection.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def in_turn(config: str, data: list[AudioFolder], iterations: int) -> dict[str, tuple[list[float], list[float], int]]:
    """Seconds and loss of every step of every side, taken in turn, and its peak memory."""
    spawn = multiprocessing.get_context("spawn")
    ends = {}
    for side, (own, _) in SIDES.items():
        os.environ["MUSIC2LATENT_FUSED"] = "0" if own else "1"  # the process that is started now inherits it
        ends[side], theirs = spawn.Pipe()
        spawn.Process(target=take_steps, args=(theirs, config, data, side)).start()
    taken: dict[str, list[tuple[float, float]]] = {side: [] for side in SIDES}
    for _ in range(iterations):
        for side, end in ends.items():
            end.send(True)
            taken[side].append(end.recv())
    for end in ends.values():
        end.send(False)
    return {side: ([t for t, _ in taken[side]], [loss for _, loss in taken[side]], ends[side].recv()) for side in SIDES}


def waiting(config: str, data: list[str], cache: Path) -> float:
    """The share of its time that a training process waits for data, on its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "music2latent", "train", config, "--output", folder]
        command += ["--cache", str(cache), *(f"--data={one}" for one in data)]
        command += [f"--set={one}" for one in (f"iterations={ALONE}", "log_every=10", *SETTINGS)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        rows = [json.loads(line) for line in (Path(folder) / "stats.jsonl").read_text().splitlines()]
    return statistics.mean(row["waiting_for_data"] for row in rows[1:])


def main(
    config: Annotated[str, typer.Argument(help="The recipe.")] = "mini",
    data: Annotated[list[str] | None, typer.Option(help="Audio, as for `music2latent train`.")] = None,
    iterations: Annotated[int, typer.Option(min=10, help="Steps of every side, in turn.")] = 25,
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = ROOT / "benchmarks" / "training.md",
) -> None:
    """Measure all sides and write the table."""
    folders = data or [str(ROOT / "examples")]
    resolved = load_config(config)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        waits = waiting(config, folders, folder / "int16")
        indexed = [index_folder(path, weight, folder) for path, weight in map(parse_folder, folders)]
        cached = [cache_audio(one, resolved.model.sample_rate, folder / "int16") for one in indexed]
        taken = in_turn(config, cached, iterations)
    batch = resolved.recipe.batch_size
    lines = ["| | iterations / s | crops / s | times plain | peak memory |", "|---|---:|---:|---:|---:|"]
    seconds = {side: statistics.median(times[SKIPPED:]) for side, (times, _, _) in taken.items()}
    for side, one in seconds.items():
        times = seconds["plain float32"] / one
        lines.append(f"| {side} | {1 / one:.2f} | {batch / one:.1f} | {times:.2f} | {taken[side][2] / 1e9:.2f} GB |")
    plain, recipe = taken["plain float32"][1], taken["the recipe"][1]
    apart = statistics.mean(abs(b - a) / a for a, b in zip(plain, recipe, strict=True))
    text = (
        f"`{config}`, {batch} crops of {resolved.recipe.crop_columns} columns a step, {iterations} steps of every "
        f"side in turn, on {processor()}, torch {torch.__version__}.\n\n" + "\n".join(lines) + "\n\n"
        f"In plain float32 the loss goes from {plain[0]:.3f} to {plain[-1]:.3f}, with the recipe from {recipe[0]:.3f} "
        f"to {recipe[-1]:.3f}; on average the two curves are {apart:.2%} apart. On its own, with two workers, it "
        f"waits {waits:.1%} of its time for data.\n"
    )
    typer.echo(text)
    output.write_text("# Training speed\n\n    python benchmarks/training.py\n\n" + text)


if __name__ == "__main__":
    typer.run(main)
