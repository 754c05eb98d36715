"""The command line: verbs parse, call the package and print. What is slow to import is imported inside them."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer

from .. import __version__
from ..errors import InputError
from . import coding, dataset, demo, doctor, evaluation, export, live, models, training
from .options import grouped
from .output import complain


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


def _options(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, help="Print the version.")] = False,
) -> None:
    """Audio -> 64 numbers about eleven times a second -> audio."""


def _make_app() -> typer.Typer:
    app = typer.Typer(
        name="music2latent",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for verb in (
        *(coding.encode, coding.decode, coding.reconstruct, live.live),
        *(models.info, models.convert, doctor.doctor, training.train, training.export_weights),
    ):
        app.command()(grouped(verb))
    app.command()(grouped(export.export))
    app.command(cls=evaluation.Lists)(grouped(evaluation.evaluate))
    app.command()(grouped(evaluation.probe))
    app.command()(grouped(demo.demo))
    collections = typer.Typer(
        no_args_is_help=True, help="Whole collections: encode, verify, describe, merge data sets."
    )
    for action in (dataset.encode, dataset.verify, dataset.info, dataset.merge):
        collections.command()(grouped(action))
    app.add_typer(collections, name="dataset")
    return app


app = _make_app()


class _Interrupted(BaseException):
    """Ctrl-C or SIGTERM, under a name that no library on the way up has its own idea of."""


def main() -> None:
    """Entry point: refused input is one line and exit code 1, wrong usage exit code 2."""
    interrupted = False
    signals = [signal.SIGINT, signal.SIGTERM]
    # Not under nohup, which has it ignored.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        if not interrupted:  # once: another one must not break off the cleaning up
            interrupted = True
            raise _Interrupted

    for number in signals:
        signal.signal(number, interrupt)
    try:
        app(prog_name=app.info.name)
    except BaseException as error:
        if interrupted:
            # Raised inside Python's own locks, the interrupt may surface as another error, or leave a thread running
            # that would abort the interpreter's shutdown. Context managers on the way up have removed partial files.
            complain("error: interrupted; nothing half-written was left")
            os._exit(1)
        if not isinstance(error, (InputError, OSError, MemoryError)):
            raise
        complain(f"error: {error or 'out of memory'}")
    raise SystemExit(1)
