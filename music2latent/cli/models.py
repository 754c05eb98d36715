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
from .output import say, show
from .running import finish


def info(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Audio or .m2l files, checkpoints, or names of models. Default: the default model."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per input.")] = False,
) -> None:
    """What a file or a model is, and which model is the default."""
    from ..info import facts_of

    names: list[str | None] = [*inputs] if inputs else [None]
    failures = []
    for name in names:
        try:
            print_facts(facts_of(name), as_json)
        except InputError as error:
            failures.append(error)
        except (OSError, MemoryError) as error:
            failures.append(InputError(f"{name}: {error or 'out of memory'}"))
    finish(failures, len(names))


def print_facts(facts: dict[str, Any], as_json: bool) -> None:
    """As one line of JSON, or as lines of names and values, those of a dict under its name, and an empty one."""
    if as_json:
        show(json.dumps(facts))
        return
    for key, value in facts.items():
        if isinstance(value, dict):
            _print_fact(key, "")
            for inner, fact in value.items():
                _print_fact(f"  {inner:<16}", _in_words(fact))
        else:
            _print_fact(key, value)
    show("")


def _in_words(fact: Any) -> str:
    if isinstance(fact, dict):
        return ", ".join(f"{key} {_in_words(value)}" for key, value in fact.items())
    if isinstance(fact, list):
        return ", ".join(map(str, fact)) or "none"
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    return "none" if fact is None else str(fact)


def _print_fact(name: str, fact: Any) -> None:
    """One line, out of which nothing that a file says of itself breaks."""
    show(f"{name:<14} {fact}".rstrip())


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
    say(f"{target}: {checkpoint.model_id}, {target.stat().st_size / 1e6:.1f} MB")
