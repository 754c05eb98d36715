"""What models lose on crops that they were not trained on: python scripts/held_out.py FOLDER --model mini --model MODEL

The objectives of the recipe `mini` and their figures, of one step with noise that is always the same; a row per model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from known import crops

from music2latent.devices import keep_freed_memory
from music2latent.pretrained import load_model
from music2latent.training.config import load_config
from music2latent.training.module import TrainingModule


@torch.no_grad()
def main(
    folder: Annotated[Path, typer.Argument(help="Audio that none of them has seen.")],
    models: Annotated[list[str] | None, typer.Option("--model", help="Names or files; mini by default.")] = None,
    count: Annotated[int, typer.Option(help="How many crops.")] = 48,
) -> None:
    """Print a Markdown table."""
    keep_freed_memory()
    config = load_config("mini")
    audio = crops(folder, count, config.model.sample_rate, config.crop_samples)
    for number, name in enumerate(models or ["mini"]):
        training = TrainingModule(load_model(name), config.objectives)
        generator, parts = torch.Generator().manual_seed(0), []
        for part in audio.split(1):
            noise = torch.randn(1, 2, config.model.bins, config.recipe.crop_columns, generator=generator)
            level = torch.ones(1, dtype=torch.float64)  # of the consistency objective, which the recipe has not
            parts.append(training(part, level, level / 2, noise).figures)
        if not number:
            print(f"| model | {' | '.join(parts[0])} |\n|---|{'---:|' * len(parts[0])}")
        means = [torch.stack([part[key] for part in parts]).mean() for key in parts[0]]
        print(f"| {name} | {' | '.join(f'{float(mean):.3f}' for mean in means)} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
