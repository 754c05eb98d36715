"""info, convert: what a file or a model is, and models in our format."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from ..files import check_free, stored_bits
from .options import Force, SaveDtype
from .running import finish


def info(
    inputs: Annotated[list[str], typer.Argument(help="Audio or .m2l files, checkpoints, or names of models.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per input.")] = False,
) -> None:
    """What a file or a model is."""
    from ..info import facts_of

    failures = []
    for name in inputs:
        try:
            facts = facts_of(name)
        except InputError as error:
            failures.append(error)
            continue
        if as_json:
            typer.echo(json.dumps(facts))
        else:
            typer.echo("\n".join(f"{key:<14} {value}" for key, value in facts.items()) + "\n")
    finish(failures, len(inputs))


def convert(
    model: Annotated[str, typer.Argument(help="An official .pt file, or any model name or path.")],
    target: Annotated[Path, typer.Argument(help="A .safetensors file to write.")],
    save_dtype: SaveDtype = "float32",
    model_id: Annotated[str | None, typer.Option(help="Name of the model. Default: the file's.")] = None,
    provenance: Annotated[str | None, typer.Option(help="Who trained it on what.")] = None,
    license: Annotated[str | None, typer.Option(help="Licence of the weights.")] = None,
    chunk: Annotated[
        tuple[int, int] | None, typer.Option(help="Chunks and their overlap in latents that the model works best in.")
    ] = None,
    force: Force = False,
) -> None:
    """An official .pt checkpoint -> one safetensors file with its configuration inside."""
    from ..checkpoint import check_model_path, write_safetensors
    from ..chunks import ChunkPlan
    from ..pretrained import load_checkpoint

    stored_bits(save_dtype)
    check_model_path(target)
    check_free(target, force)
    changes: dict[str, Any] = {
        "model_id": model_id,
        "provenance": provenance,
        "license": license,
        "chunk_plan": ChunkPlan(*chunk) if chunk else None,
    }
    wanted = {key: value for key, value in changes.items() if value is not None}
    checkpoint = dataclasses.replace(load_checkpoint(model), **wanted)
    write_safetensors(target, checkpoint, dtype=save_dtype)
    typer.echo(f"{target}: {checkpoint.model_id}, {target.stat().st_size / 1e6:.1f} MB")
