"""Running a verb over many files: one bad file does not stop the rest, and all failures are said at the end."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import typer

from ..errors import InputError
from ..progress import Progress
from .options import Existing
from .output import complain
from .paths import Job
from .progress import progress_bar


def run(jobs: list[Job], work: Callable[[Job, Progress], None], *, existing: Existing, at_once: int = 1) -> None:
    """Do every job, so many at the same time, under a progress bar; exit with 1 if any of them failed.

    Results that exist are left alone, replaced, or failures, as `existing` says.
    """
    owners: dict[Path, Path] = {}
    for job in jobs:
        owners.setdefault(job.output, job.input)
    there = [job for job in jobs if not existing.force and os.path.lexists(job.output)]
    left = [job for job in jobs if job not in set(there)]
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
            replaced = os.path.lexists(job.output)
            progress(0)
            work(job, progress)
            if replaced:
                complain(f"note: replaced {job.output}, which existed")
        except InputError as error:
            return error
        except (OSError, MemoryError) as error:
            return InputError(f"{job.input}: {error or 'out of memory'}")
        finally:
            progress(1)
        return None

    with progress_bar(len(left)) as show, ThreadPoolExecutor(at_once) as pool:
        # One at a time they run in this thread, which an interrupt reaches at once.
        results = (map if at_once == 1 else pool.map)(attempt, left)
        failures = [error for error in results if error]
    skipped = 0
    if existing.skip_existing:
        skipped = len(there)
    elif there:
        failures.append(_exist_already([job.output for job in there]))
    finish(
        failures, len(jobs), failed=len(failures) - bool(there and not skipped), existing=len(there), skipped=skipped
    )


def _exist_already(paths: list[Path]) -> InputError:
    """One error for all of them, so that others can be seen."""
    more = f", as {len(paths) - 1} more results do" if len(paths) > 1 else ""
    return InputError(
        f"{paths[0]}: exists already{more}; choose another --output, leave out what exists with --skip-existing, "
        "or overwrite it with --force"
    )


def finish(
    failures: list[InputError], total: int, *, failed: int | None = None, existing: int = 0, skipped: int = 0
) -> None:
    """Print what went wrong, and exit with 1 if anything did. Results that exist already are one failure together."""
    for failure in failures:
        complain(f"error: {failure}")
    failed = len(failures) if failed is None else failed
    if total > 1 and (failed or existing):
        parts = [f"{total - failed - existing} done"]
        parts += [f"{existing} exist already{' and were skipped' * bool(skipped)}"] if existing else []
        parts += [f"{failed} failed"] if failed else []
        complain(f"{total} files: {', '.join(parts)}")
    if failures:
        raise typer.Exit(1)
