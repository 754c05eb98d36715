"""Writing files so that nothing half-written is ever seen under its final name."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InputError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path in the same folder, with the same suffix: moved to `path` on success, removed on any failure.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
    """
    target = Path(path)
    partial = target.with_name(f".{uuid.uuid4().hex[:8]}.partial{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error}); nothing was left there") from error
    finally:
        with suppress(OSError):
            partial.unlink()
