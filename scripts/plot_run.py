"""The curves of training runs, from their stats.jsonl: python scripts/plot_run.py RUN [RUN ...] OUT.png"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure

FIGURES = {
    "loss": "training loss",
    "validation/log_spectral_distance": "validation: log-spectral distance (dB)",
    "validation/spectral_distance": "validation: multi-resolution STFT distance",
}


def main(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    target: Annotated[Path, typer.Argument(help="The picture.")],
) -> None:
    """Loss and validation over crops seen."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(1, len(FIGURES)), FIGURES.items(), strict=True):
        for run in runs:
            rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
            seen = 0
            points = []
            for row in rows:  # validations come between the lines that count crops
                seen = row.get("num_seen", seen)
                if key in row:
                    points.append((seen, row[key]))
            axes.plot(*zip(*points, strict=True), marker="." if "validation" in key else None, label=run.name)
        axes.set(title=title, xlabel="crops seen")
        axes.grid(alpha=0.3)
    if len(runs) > 1:
        axes.legend(fontsize=7)
    figure.savefig(target, dpi=90)


if __name__ == "__main__":
    typer.run(main)
