"""Running a verb over many files: one bad file does not stop the rest, and all failures are said at the end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import typer

from ..errors import InputError
from ..files import check_free
from ..progress import Progress
from .paths import Job
from .progress import progress_bar


def run(jobs: list[Job], work: Callable[[Job, Progress], None], *, force: bool, at_once: int = 1) -> None:
    """Do every job, so many at the same time, under a progress bar; exit with 1 if any of them failed."""
    owners: dict[Path, Path] = {}
    for job in jobs:
        owners.setdefault(job.output, job.input)
    total = 0.0

    def attempt(job: Job) -> InputError | None:
        done = 0.0

        def progress(fraction: float) -> None:
            nonlocal done, total
            total, done = total + fraction - done, fraction
            show(job.input.name, total)

        try:
            if (other := owners[job.output]) != job.input:
                raise InputError(f"{job.input}: its result would replace that of {other}; rename one of them")
            check_free(job.output, force)
            progress(0)
            work(job, progress)
        except InputError as error:
            return error
        except (OSError, MemoryError) as error:
            return InputError(f"{job.input}: {error or 'out of memory'}")
        finally:
            progress(1)
        return None

    with progress_bar(len(jobs)) as show, ThreadPoolExecutor(at_once) as pool:
        # One at a time they run in this thread, which an interrupt reaches at once.
        results = (map if at_once == 1 else pool.map)(attempt, jobs)
        failures = [error for error in results if error]
    finish(failures, len(jobs))


def finish(failures: list[InputError], total: int) -> None:
    """Print what went wrong, and exit with 1 if anything did."""
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)
    if failures and total > 1:
        typer.echo(f"{len(failures)} of {total} failed; the rest is done", err=True)
    if failures:
        raise typer.Exit(1)
