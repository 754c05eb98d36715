"""What models lose on crops that they were not trained on: python scripts/held_out.py FOLDER --model mini --model MODEL

The objectives of the recipe `mini` and their figures, of one step with noise that is always the same; a row per model.
With --octaves, where levels of semitones are wrong instead: for each octave of `constant_q`, from the lowest on, in
dB, the mean difference, how much too loud, and the mean difference of levels that are averaged over a crop.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from known import crops
from torch import Tensor

from music2latent.devices import keep_freed_memory
from music2latent.pretrained import load_model
from music2latent.training.config import load_config
from music2latent.training.module import TrainingModule
from music2latent.training.objectives import Batch, ConstantQ


def by_octave(batch: Batch) -> dict[str, Tensor]:
    """Figures of a batch in dB, octave by octave."""
    differences = ConstantQ().differences(batch)
    wrong = {f"C{octave}": one.abs().mean() for octave, one in enumerate(differences, 1)}
    louder = {f"C{octave} too loud": one.mean() for octave, one in enumerate(differences, 1)}
    return wrong | louder | {f"C{n} averaged": one.mean(1).abs().mean() for n, one in enumerate(differences, 1)}


@torch.no_grad()
def main(
    folder: Annotated[Path, typer.Argument(help="Audio that none of them has seen.")],
    models: Annotated[list[str] | None, typer.Option("--model", help="Names or files; mini by default.")] = None,
    count: Annotated[int, typer.Option(help="How many crops.")] = 48,
    octaves: Annotated[bool, typer.Option(help="Levels of semitones, octave by octave.")] = False,
) -> None:
    """Print a Markdown table."""
    keep_freed_memory()
    config = load_config("mini")
    audio = crops(folder, count, config.model.sample_rate, config.crop_samples)
    for number, name in enumerate(models or ["mini"]):
        training = TrainingModule(load_model(name), config.active)
        generator, parts = torch.Generator().manual_seed(0), []
        for part in audio.split(1):
            noise = torch.randn(1, 2, config.model.bins, config.recipe.crop_columns, generator=generator)
            level = torch.ones(1, dtype=torch.float64)  # of the consistency objective, which the recipe has not
            if octaves:
                parts.append(by_octave(training.batch(part, level, level / 2, noise)))
            else:
                parts.append(training(part, level, level / 2, noise).figures)
        if not number:
            print(f"| model | {' | '.join(parts[0])} |\n|---|{'---:|' * len(parts[0])}")
        means = [torch.stack([part[key] for part in parts]).mean() for key in parts[0]]
        print(f"| {name} | {' | '.join(f'{float(mean):.3f}' for mean in means)} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
