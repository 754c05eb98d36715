"""Files and folders: written whole or not at all, never overwritten unasked, and found below a folder."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InputError


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path in the same folder, with the same suffix: moved to `path` on success, removed on any failure.

    Args:
        path: what is written.
        overwrite: if off, a file that another program has put there meanwhile stays, and ours gets a name beside it.

    Raises:
        InputError: the folder cannot be written to, the disk is full, or the name was taken.
    """
    target, key = Path(path), uuid.uuid4().hex[:8]
    partial = target.with_name(f".{key}.partial{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if overwrite or _claim(partial, target):
            os.replace(partial, target)
        else:
            kept = target.with_name(f"{target.stem}.{key}{target.suffix}")
            os.replace(partial, kept)
            raise InputError(f"{target}: written by another program meanwhile, and left as it is; see {kept.name}")
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error}); nothing was left there") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def _claim(partial: Path, target: Path) -> bool:
    """Put a file at `target` that `partial` can replace, unless one is there."""
    try:
        try:
            os.link(partial, target)
        except FileExistsError:
            raise
        except OSError:  # a file system without links: an empty file holds the place until it is replaced
            target.open("x").close()
    except FileExistsError:
        return False
    return True


def check_free(path: Path, force: bool) -> None:
    """Refuse to overwrite.

    Raises:
        InputError: the file exists and `force` is off.
    """
    if os.path.lexists(path) and not force:
        raise InputError(f"{path}: exists already; choose another --output, or overwrite it with --force")


def check_suffix(path: Path, suffix: str, what: str) -> None:
    """Refuse another suffix.

    Raises:
        InputError: `what` is written to files ending in `suffix`, and this is none.
    """
    if path.suffix.lower() != suffix:
        raise InputError(f"{path}: {what} are written to files ending in {suffix}")


def stored_bits(dtype: str) -> int:
    """Bits of a number in a file.

    Raises:
        InputError: anything but float16 and float32.
    """
    bits = {"float16": 16, "float32": 32}
    if dtype not in bits:
        raise InputError(f"numbers are stored as float16 or float32, not {dtype!r}")
    return bits[dtype]


def walk(folder: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """Files below a folder with one of these suffixes, in the order of their sorted paths, yielded as they are found.

    Hidden files and folders are left out, and linked folders are not followed. One folder's names are held at a time.
    """
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path), suffixes)
        elif Path(entry.name).suffix.lower() in suffixes and entry.is_file():
            yield Path(entry.path)
