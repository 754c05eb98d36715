"""Files and folders named on a command line: what is read, where each result goes, and running through them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError

Report = Callable[[float], None]
"""Told the fraction of a job that is done, 0 to 1."""


@dataclass(frozen=True)
class Job:
    """One input and where its result goes."""

    source: Path
    target: Path


def plan(
    inputs: list[Path], output: Path | None, *, accepted: Iterable[str], suffix: str, marker: str = ""
) -> list[Job]:
    """Where every input's result goes.

    A folder is searched for files with an `accepted` suffix and mirrored. Results are named like their input, with
    `marker` after the stem and this suffix; they lie beside it, or in `output`, which is a folder unless there is one
    input file only and `output` has a suffix.

    Raises:
        InputError: a missing input, a folder without such files, or a result that would replace its input.
    """
    jobs = []
    for path in inputs:
        if path.is_dir():
            # with a marker, results lie among the inputs: they are not inputs themselves
            found = [file for file in find(path, accepted) if not (marker and file.stem.endswith(marker))]
            if not found:
                raise InputError(f"{path}: a folder without files to work on; looked for {' '.join(sorted(accepted))}")
            root = output or path
            jobs += [Job(file, root / _renamed(file.relative_to(path), suffix, marker)) for file in found]
        elif not path.exists():
            raise InputError(f"{path}: no such file or folder")
        elif output is not None and len(inputs) == 1 and output.suffix and not output.is_dir():
            jobs.append(Job(path, output))
        else:
            jobs.append(Job(path, (output or path.parent) / _renamed(Path(path.name), suffix, marker)))
    for job in jobs:
        if job.target.resolve() == job.source.resolve():
            raise InputError(f"{job.source}: the result would replace its own input; choose another --output")
    return list(dict.fromkeys(jobs))


def find(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Files below a folder with one of these suffixes, sorted; hidden ones are left out."""
    wanted = set(suffixes)
    files = (path for path in folder.rglob("*") if path.suffix.lower() in wanted and path.is_file())
    return sorted(path for path in files if not any(p.startswith(".") for p in path.relative_to(folder).parts))


def _renamed(path: Path, suffix: str, marker: str) -> Path:
    return path.with_name(f"{path.stem}{marker}{suffix}")


def check_free(target: Path, force: bool) -> None:
    """Refuse to overwrite.

    Raises:
        InputError: the file exists and `force` is off.
    """
    if os.path.lexists(target) and not force:
        raise InputError(f"{target}: exists already; choose another --output, or overwrite it with --force")


def run(jobs: list[Job], work: Callable[[Job, Report], None], *, force: bool, at_once: int = 1) -> list[InputError]:
    """Do every job, so many at the same time, under a progress bar; a bad file does not stop the rest.

    Returns what went wrong.
    """
    owners: dict[Path, Path] = {}
    for job in jobs:
        owners.setdefault(job.target, job.source)
    total = 0.0

    def attempt(job: Job) -> InputError | None:
        done = 0.0

        def report(fraction: float) -> None:
            nonlocal done, total
            total, done = total + fraction - done, fraction
            show(job.source.name, total)

        try:
            if (other := owners[job.target]) != job.source:
                raise InputError(f"{job.source}: its result would replace that of {other}; rename one of them")
            check_free(job.target, force)
            report(0)
            work(job, report)
        except InputError as error:
            return error
        except (OSError, MemoryError) as error:
            return InputError(f"{job.source}: {error or 'out of memory'}")
        finally:
            report(1)
        return None

    with progress_bar(len(jobs)) as show, ThreadPoolExecutor(at_once) as pool:
        # One at a time they run in this thread, which an interrupt reaches at once.
        results = (map if at_once == 1 else pool.map)(attempt, jobs)
        return [error for error in results if error]


@contextmanager
def progress_bar(total: float) -> Iterator[Callable[[str, float], None]]:
    """A bar on a terminal's standard error, told what is being done and how much of `total` is."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda what, done: progress.update(task, description=what, completed=done)
