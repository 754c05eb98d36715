"""How fast a training step is: the recipe as it stands against plain float32 PyTorch, step by step in turn.

    python benchmarks/training.py [configs/mini.toml] [--data DIR] [--iterations 40]

Both sides start from the same weights and see the same crops and noise, of data decoded once. "Plain" is the same
configuration in float32, in the default layout, with PyTorch's own normalisation. Steps are taken alternately in one
process, so that whatever else the machine does falls on both. Then each side trains on its own in a process of its own,
for its peak memory and for the time it waits for data. Writes benchmarks/training.md.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from accelerate.state import AcceleratorState

from music2latent.devices import keep_freed_memory
from music2latent.nn import fused
from music2latent.training.config import load_config
from music2latent.training.data import Source, decode_once, index_folder, parse_source
from music2latent.training.loop import Run, make_accelerator
from music2latent.training.report import Totals

ROOT = Path(__file__).parent.parent
PLAIN = ["precision=no", "channels_last=false", "compile=false"]
SIDES = {"plain float32": PLAIN, "the recipe": []}
SKIPPED = 5
"""First steps, in which caches fill."""
ALONE = 30
"""Steps of each side in its own process."""


def in_turn(config: Path, sources: list[Source], iterations: int, settings: list[str], folder: Path) -> dict[str, Any]:
    """Seconds and loss of every step of both sides, taken alternately."""
    runs, taken = {}, {}
    for name, own in SIDES.items():
        resolved = load_config(config, [*settings, *own])
        AcceleratorState._reset_state(reset_partial_state=True)  # one precision a process; a Run keeps its own
        run = Run(resolved, sources, folder, make_accelerator(resolved.recipe))
        runs[name], taken[name] = (run, run.batches()), []
    library = fused.library
    for _ in range(iterations):
        for name, (run, batches) in runs.items():
            fused.library = library if name == "the recipe" else lambda: None
            totals, begun = Totals(), time.perf_counter()
            run.step(batches, totals)
            assert totals.sums is not None, "a step without a finite loss"
            taken[name].append((time.perf_counter() - begun, totals.sums["loss"]))
    fused.library = library
    return taken


def alone(config: Path, data: list[str], settings: list[str], decoded: Path) -> tuple[int, float]:
    """Peak memory in bytes of a training process, and the share of its time that it waits for data."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "music2latent", "train", str(config), "--output", folder]
        command += ["--decode-to", str(decoded), *(f"--data={one}" for one in data)]
        command += [f"--set={one}" for one in (f"iterations={ALONE}", "log_every=10", *settings)]
        environment = os.environ | ({"MUSIC2LATENT_FUSED": "0"} if "precision=no" in settings else {})
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise typer.Exit(1)
        rows = [json.loads(line) for line in (Path(folder) / "stats.jsonl").read_text().splitlines()]
    return usage.ru_maxrss * 1024, statistics.mean(row["waiting_for_data"] for row in rows[1:])


def processor() -> str:
    """Name and count of the cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    return f"{torch.get_num_threads()} cores of {name}"


def main(
    config: Annotated[Path, typer.Argument(help="The recipe.")] = ROOT / "configs" / "mini.toml",
    data: Annotated[list[str] | None, typer.Option(help="Audio, as for `music2latent train`.")] = None,
    iterations: Annotated[int, typer.Option(min=10, help="Steps of either side, in turn.")] = 40,
    workers: Annotated[int, typer.Option(min=0, help="Processes that read data.")] = 2,
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = ROOT / "benchmarks" / "training.md",
) -> None:
    """Measure both sides and write the table."""
    keep_freed_memory()
    folders = data or [str(ROOT / "examples")]
    settings = [f"workers={workers}", "warmup=5"]
    resolved = load_config(config)
    batch, sample_rate = resolved.recipe.batch_size, resolved.model.sample_rate
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Decoded by a process of its own first: what it forks off below should find its memory small.
        others = {side: alone(config, folders, [*settings, *own], folder / "int16") for side, own in SIDES.items()}
        sources = [index_folder(path, weight, folder) for path, weight in map(parse_source, folders)]
        sources = [decode_once(source, sample_rate, folder / "int16") for source in sources]
        taken = in_turn(config, sources, iterations, settings, folder)
    seconds = {side: statistics.median(time for time, _ in steps[SKIPPED:]) for side, steps in taken.items()}
    lines = ["| | iterations / s | crops / s | peak memory | waiting for data |", "|---|---:|---:|---:|---:|"]
    for side, one in seconds.items():
        peak, waiting = others[side]
        lines.append(f"| {side} | {1 / one:.2f} | {batch / one:.1f} | {peak / 1e9:.2f} GB | {waiting:.1%} |")
    plain, recipe = ([loss for _, loss in steps] for steps in taken.values())
    apart = statistics.mean(abs(b - a) / a for a, b in zip(plain, recipe, strict=True))
    ratio = seconds["plain float32"] / seconds["the recipe"]
    text = (
        f"`{config.name}`, {batch} crops a step, {workers} workers, {iterations} steps of either side in turn, on "
        f"{processor()}, torch {torch.__version__}.\n\n" + "\n".join(lines) + "\n\n"
        f"The recipe is {ratio:.2f} times as fast. In float32 the loss goes from {plain[0]:.3f} to {plain[-1]:.3f}, "
        f"with the recipe from {recipe[0]:.3f} to {recipe[-1]:.3f}; on average the two curves are {apart:.2%} apart.\n"
    )
    typer.echo(text)
    output.write_text("# Training speed\n\n    python benchmarks/training.py\n\n" + text)


if __name__ == "__main__":
    typer.run(main)
