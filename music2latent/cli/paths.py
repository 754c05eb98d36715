"""Files and folders named on a command line: which files are read, and where each result goes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError
from ..files import walk
from ..opening import is_url

STANDARD_INPUT = Path("-")
DECODED, RECONSTRUCTED = MARKERS = (".decoded", ".reconstructed")
"""Between stem and suffix of audio that was made here, so that it never has its original's name; folders are searched
for originals."""


@dataclass(frozen=True)
class Job:
    """One input file and where its result goes."""

    input: Path
    output: Path

    def open(self) -> Path | BinaryIO:
        """The input, or standard input."""
        return sys.stdin.buffer if self.input == STANDARD_INPUT else self.input


def plan(
    inputs: list[Path], output: Path | None, *, accepted: Collection[str], suffix: str, marker: str = ""
) -> list[Job]:
    """Where every input's result goes.

    A folder is searched for files with an `accepted` suffix and mirrored. Results are named like their input, with
    `marker` after the stem and this suffix; where that gives several inputs one name (`a.wav`, `a.flac`), after the
    input's whole name. They lie beside the input (of a URL, in the current folder), or in `output`, which is a folder
    unless there is one input file only and `output` has a suffix.

    Raises:
        InputError: a missing input, a folder without such files, a stream without `output`, a file named as output of
            several, or a result that would replace its input.
    """
    found: list[tuple[Path, Path]] = []  # input, and its name below the folder of results
    for path in inputs:
        if path.is_dir():
            below = [file for file in walk(path, accepted) if not file.stem.endswith(MARKERS)]
            if not below:
                raise InputError(f"{path}: a folder without files to work on; looked for {' '.join(sorted(accepted))}")
            found += [(file, (output or path) / file.relative_to(path)) for file in below]
        elif path == STANDARD_INPUT or (path.exists() and not path.is_file()):
            if output is None:
                raise InputError(f"{path}: a stream has no place for results beside it; give --output FILE")
            found.append((path, output / "stdin"))
        elif is_url(path):
            found.append((path, (output or Path()) / path.name))
        elif not path.exists():
            raise InputError(f"{path}: no such file or folder")
        else:
            found.append((path, (output or path.parent) / path.name))
    found = list(dict.fromkeys(found))
    if output is not None and output.suffix and not output.is_dir():
        if len(inputs) == 1 and not inputs[0].is_dir():
            return _checked([Job(inputs[0], output)])
        if output.suffix.lower() in (suffix, *accepted):
            raise InputError(f"{output}: one file for {len(found)} results; name a folder, without {output.suffix}")
    names = Counter(_renamed(place, suffix, marker) for _, place in found)
    jobs = []
    for path, place in found:
        name = _renamed(place, suffix, marker)
        jobs.append(Job(path, place.with_name(f"{place.name}{marker}{suffix}") if names[name] > 1 else name))
    return _checked(jobs)


def _checked(jobs: list[Job]) -> list[Job]:
    for job in jobs:
        if job.output.resolve() == job.input.resolve():
            raise InputError(f"{job.input}: the result would replace its own input; choose another --output")
    return jobs


def _renamed(path: Path, suffix: str, marker: str) -> Path:
    return path.with_name(f"{path.stem}{marker}{suffix}")


def refuse(inputs: list[Path], suffixes: Collection[str], reason: str) -> None:
    """Refuse files that another verb is for.

    Raises:
        InputError: at the first with one of these suffixes.
    """
    for path in inputs:
        if path.suffix.lower() in suffixes and not path.is_dir():
            raise InputError(f"{path}: {reason}")
