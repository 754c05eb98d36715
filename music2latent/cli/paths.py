"""Files and folders named on a command line: which files are read, and where each result goes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from ..files import walk


@dataclass(frozen=True)
class Job:
    """One input file and where its result goes."""

    input: Path
    output: Path


def plan(
    inputs: list[Path], output: Path | None, *, accepted: Collection[str], suffix: str, marker: str = ""
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
            # earlier results, which the marker tells, are not inputs
            found = [file for file in walk(path, accepted) if not (marker and file.stem.endswith(marker))]
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
        if job.output.resolve() == job.input.resolve():
            raise InputError(f"{job.input}: the result would replace its own input; choose another --output")
    return list(dict.fromkeys(jobs))


def _renamed(path: Path, suffix: str, marker: str) -> Path:
    return path.with_name(f"{path.stem}{marker}{suffix}")
