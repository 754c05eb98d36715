"""evaluate, probe: how good reconstructions are, and what is in the latents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from ..files import check_free
from .options import CodecOptions, Device, Dtype, Force
from .output import say
from .progress import progress_bar


class Lists(TyperCommand):
    """A command whose repeatable options also take several values at once: `--steps 1 2 4`. Arguments come before."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        repeatable = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        expanded: list[str] = []
        current = None
        for arg in args:
            if arg.startswith("-"):
                current = arg if arg in repeatable else None
                expanded.append(arg)
            elif current and expanded[-1] != current:
                expanded += [current, arg]
            else:
                expanded.append(arg)
        return super().parse_args(ctx, expanded)


def evaluate(
    inputs: Annotated[list[Path], typer.Argument(help="Folders of audio, or files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for the report.")],
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Models; NAME@int8: latents in 8 bits. Default: mini."),
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Other codecs: opus:12, mp3:32 (kbit/s per channel), encodec:6, dac, ...")
    ] = None,
    steps: Annotated[list[int] | None, typer.Option(min=1, help="Network passes of our decoder. Default: 1.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Files per folder, evenly spaced.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="Only so much, from the middle of each file.")] = None,
    min_seconds: Annotated[float, typer.Option(help="Leave shorter files out.")] = 1.0,
    seeds: Annotated[int, typer.Option(min=1, help="Decodings of each file that the spread is taken over.")] = 5,
    fad: Annotated[
        list[str] | None,
        typer.Option(help="Fréchet Audio Distance too, by: vggish, clap (downloaded when first used)."),
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Files to listen to in the report.")] = 3,
    device: Device = None,
    dtype: Dtype = "auto",
    force: Force = False,
) -> None:
    """How good reconstructions are: tables, pictures, and a page to listen to."""
    from ..evaluation.evaluate import Settings
    from ..evaluation.peers import names
    from ..evaluation.report import run
    from ..settings import default_model

    check_free(output / "report.json", force)
    settings = Settings(
        codecs=names(models or [default_model().name], steps or [1], against or []),
        limit=limit,
        seconds=seconds,
        min_seconds=min_seconds,
        seeds=seeds,
        device=device,
        dtype=dtype,
        fad=tuple(fad or ()),
    )
    with progress_bar() as progress:
        page = run(inputs, settings, output, examples=examples, progress=progress)
    say((output / "report.md").read_text())
    say(f"{page}: open it in a browser to listen")


def probe(
    folders: Annotated[list[Path], typer.Argument(help="Data sets: a folder per class, or files with a labels.csv.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for probe.json and probe.md.")],
    codec_options: CodecOptions,
    folds: Annotated[int, typer.Option(min=2, help="Of cross-validation; no group is in two of them.")] = 5,
    force: Force = False,
) -> None:
    """How much a linear classifier finds in the latents, in the features, and in a log-mel spectrogram."""
    from ..evaluation.probe import run
    from ..extras import require

    require("evaluate")
    check_free(output / "probe.json", force)
    codec = codec_options.load()
    with progress_bar(len(folders)) as progress:
        say(run(folders, codec, output, folds=folds, progress=progress))
