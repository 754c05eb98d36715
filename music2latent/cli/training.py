"""train, export-weights: folders of audio to a model file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..files import check_free, stored_bits
from .options import Force, SaveDtype
from .output import say, tell


def train(
    recipe: Annotated[str, typer.Argument(help="finetune, mini, official, tiny, or the path of a .toml file.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", help="A folder of audio, or FOLDER=WEIGHT; several may be given.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run folder; resumed if it exists.")] = None,
    validation: Annotated[Path | None, typer.Option(help="A folder of audio to measure and listen to.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value or table.key=value, on top of the recipe.")
    ] = None,
    init_from: Annotated[str | None, typer.Option(help="A model to start from: fine-tuning.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop cleanly after so long.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Read the data once, to int16 files in this folder, and train from those.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run and what it costs.")] = False,
) -> None:
    """Folders of audio -> a model. Run the same command again to go on."""
    if not dry_run and (not data or output is None):
        raise typer.BadParameter("train needs --data and --output (or --dry-run)")
    from ..training.config import load_config

    resolved = load_config(recipe, settings or [])
    if dry_run or not data or output is None:
        from ..training.summary import summary

        say(json.dumps(resolved.to_dict() | {"cost": summary(resolved)}, indent=2))
        return
    from ..training.data import parse_folder
    from ..training.loop import train as run_training

    reached = run_training(
        resolved,
        [parse_folder(text) for text in data],
        output,
        validation=validation,
        init_from=init_from,
        max_minutes=max_minutes,
        cache=cache,
        say=tell,
    )
    say(f"{output}: at iteration {reached} of {resolved.recipe.iterations}")
    tell(f"a model of it: music2latent export-weights {output} MODEL.safetensors")


def export_weights(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    target: Annotated[Path, typer.Argument(help="A .safetensors file to write.")],
    save_dtype: SaveDtype = "float32",
    best: Annotated[bool, typer.Option("--best", help="The best checkpoint by validation, not the last.")] = False,
    license: Annotated[
        str | None, typer.Option(help="Licence of the weights. Default: that of the model they started from.")
    ] = None,
    force: Force = False,
) -> None:
    """A run's averaged weights -> a model file with latent statistics, and a model card."""
    from ..checkpoint import check_model_path
    from ..training.export import export_weights as export

    stored_bits(save_dtype)
    check_model_path(target)
    for file in (target, target.with_suffix(".md")):
        check_free(file, force)
    checkpoint = export(run, target, dtype=save_dtype, best=best, license=license)
    say(f"{target}: {checkpoint.provenance}; latent scale {checkpoint.latent_scale:.4f}")
