"""Options that several verbs share, each declared once.

A group of options is a dataclass; a verb under `grouped` takes it as one parameter, and its help shows every field as
an option of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from ..files import check_free
from .output import configure

if TYPE_CHECKING:
    from ..codec import EncoderDecoder
    from .paths import Job

AudioInputs = Annotated[
    list[Path], typer.Argument(help="Audio files, folders of them (mirrored), or - for standard input.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="A folder, or a file for one input. Default: beside the input.")
]
Format = Annotated[str, typer.Option("--format", "-f", help="Suffix of the audio: wav, flac, ogg, opus, mp3, aiff.")]
Subtype = Annotated[
    str | None,
    typer.Option(help="How samples are stored: PCM_16, PCM_24, FLOAT, ... Default: as in the original, where known."),
]
CodingRate = Annotated[int | None, typer.Option(help="Code at 44100 (default) or 48000 Hz.")]
SaveDtype = Annotated[str, typer.Option(help="float16 or float32: how numbers are stored in the file.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps. Default: the fastest there is.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto: what this hardware is fast in.")]
Seed = Annotated[int, typer.Option(help="Seed of the decoder's noise; the same seed gives the same audio.")]


@dataclass(frozen=True, kw_only=True)
class SpeedOptions:
    """What pays on a GPU, or for many files."""

    compile: Annotated[bool, typer.Option("--compile", help="Compile the networks; for a GPU and much audio.")] = False
    batch_size: Annotated[int, typer.Option(min=1, help="Files at a time, as one batch: for a GPU and many files.")] = 1


NO_SPEED_OPTIONS = SpeedOptions()


@dataclass(frozen=True, kw_only=True)
class CodecOptions:
    """Which model, where, and how precisely."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="mini (bundled), official, a path, or a repository id. Default: what `info` says."
        ),
    ] = None
    device: Device = None
    dtype: Dtype = "auto"

    def load(self, speed: SpeedOptions = NO_SPEED_OPTIONS) -> EncoderDecoder:
        """The codec of these options."""
        from ..codec import EncoderDecoder

        chosen = dataclasses.asdict(self) | dataclasses.asdict(speed)
        return EncoderDecoder(**chosen)

    def load_for(self, jobs: list[Job], existing: Existing, speed: SpeedOptions = NO_SPEED_OPTIONS) -> EncoderDecoder:
        """The codec; but if there is one result only and it exists already, that is said before a model is loaded."""
        if len(jobs) == 1 and not existing.skip_existing:
            check_free(jobs[0].output, existing.force)
        return self.load(speed)


@dataclass(frozen=True, kw_only=True)
class Existing:
    """What happens to results that exist already; by default they are failures."""

    force: Force = False
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Leave out inputs whose result exists.")] = (
        False
    )

    def __post_init__(self) -> None:
        if self.force and self.skip_existing:
            raise typer.BadParameter("--force overwrites what --skip-existing leaves alone; give one of them")


@dataclass(frozen=True, kw_only=True)
class DecodingOptions:
    """How latents become audio."""

    seed: Seed = 0
    steps: Annotated[
        int,
        typer.Option("--steps", "--num-steps", "--denoising-steps", min=1, help="Network passes of the decoder."),
    ] = 1


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """How much is said; every verb has them."""

    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what is done, with which model, where.")] = False
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and what was asked for.")] = False

    def __post_init__(self) -> None:
        if self.verbose and self.quiet:
            raise typer.BadParameter("--verbose and --quiet; give one of them")


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb for Typer: every parameter that is a dataclass is replaced by that dataclass' fields, and the options that
    all verbs have are added."""
    hints = get_type_hints(verb, include_extras=True)
    groups: dict[str, Any] = {}
    parameters = []
    for parameter in inspect.signature(verb).parameters.values():
        kind = hints[parameter.name]
        if dataclasses.is_dataclass(kind):
            groups[parameter.name] = kind
            parameters += _fields(kind)
        else:
            parameters.append(parameter.replace(annotation=kind))
    parameters += _fields(OutputOptions)

    @functools.wraps(verb)
    def command(**values: Any) -> None:
        said = OutputOptions(verbose=values.pop("verbose"), quiet=values.pop("quiet"))
        configure(verbose=said.verbose, quiet=said.quiet)
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in dataclasses.fields(kind)})
        verb(**values)

    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    # Typer reads the signature; as keywords, parameters may follow in any order.
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    command.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    return command


def _fields(kind: Any) -> list[inspect.Parameter]:
    """A dataclass' fields as parameters."""
    types = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
        )
        for field in dataclasses.fields(kind)
    ]
