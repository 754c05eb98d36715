"""What a caller names as a file - a path, a pipe, a URL, bytes, a file object - as bytes that can be sought."""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, TypeAlias, TypeGuard, cast

from .errors import InputError, printable

AudioFile: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A path (of a file or pipe, or a URL for fsspec), the bytes of a whole file, or a file object opened as bytes, such as
`sys.stdin.buffer`."""

Opened: TypeAlias = str | bytes | BinaryIO
"""A path as soundfile takes it, or a file object that can be sought: both can be read as often as one likes."""

_IN_MEMORY = 1 << 24  # bytes of a pipe or download that are kept in memory, before a temporary file takes over
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])", re.IGNORECASE)  # a path object has lost one of two slashes


def is_file(audio: Any) -> TypeGuard[AudioFile]:
    """Whether this is a path, a file's bytes or a file object, not an array of samples."""
    if isinstance(audio, memoryview):
        return audio.format == "B"
    return isinstance(audio, (str, os.PathLike, bytes, bytearray)) or hasattr(audio, "read")


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether this names something that fsspec can get, and not a file."""
    return bool(_URL.match(os.fspath(path))) and not os.path.exists(path)


def name_of(file: AudioFile) -> str:
    """What messages call the file: in one line that every terminal can print."""
    if isinstance(file, (str, os.PathLike)):
        name = os.fspath(file)
    else:
        name = str(getattr(file, "name", None) or type(file).__name__)
    return printable(name) or "''"


def system_name(path: str | os.PathLike[str]) -> str | bytes:
    """The path as libsndfile takes it, also where it is not UTF-8."""
    return os.fspath(path) if sys.platform == "win32" else os.fsencode(path)


def opened(file: AudioFile) -> Opened:
    """The file as something that can be read twice. A pipe, a URL, or a file object that cannot seek is read to its end
    first, into a temporary file if it is long.

    Raises:
        InputError: missing, a folder, a device, not bytes, or a URL that cannot be read.
        OSError: what cannot be opened.
    """
    if isinstance(file, (bytes, bytearray, memoryview)):
        return io.BytesIO(file)
    if not isinstance(file, (str, os.PathLike)):
        if isinstance(cast(Any, file), io.TextIOBase):
            raise InputError(f"{name_of(file)}: a file of text; open it as bytes ('rb'), or pass an io.BytesIO")
        seekable = getattr(file, "seekable", None)
        return file if seekable and seekable() else _spooled(file, name_of(file))
    path = os.fspath(file)
    if is_url(path):
        return _downloaded(path)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise InputError(f"{name_of(file)}: no such file") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"{name_of(file)}: a folder, expected an audio file")
    if stat.S_ISFIFO(mode):
        with open(path, "rb") as pipe:
            return _spooled(pipe, name_of(file))
    if not stat.S_ISREG(mode):
        raise InputError(f"{name_of(file)}: a terminal or device, expected an audio file or a pipe")
    return system_name(path)


@contextmanager
def binary(file: Opened) -> Iterator[BinaryIO]:
    """The bytes, from their start. A caller's file object is not closed."""
    if isinstance(file, (str, bytes)):
        with Path(os.fsdecode(file)).open("rb") as stream:
            yield stream
    else:
        file.seek(0)
        yield file


class _Copy(SpooledTemporaryFile[bytes]):
    """Closed, and with that removed, when nobody uses it any more."""

    def __del__(self) -> None:
        self.close()


def _spooled(stream: Any, name: str) -> BinaryIO:
    copy = _Copy(_IN_MEMORY)
    try:
        shutil.copyfileobj(stream, copy, 1 << 20)
    except TypeError as error:
        raise InputError(f"{name}: reading it gives no bytes; pass a file object opened as bytes ('rb')") from error
    return cast(BinaryIO, copy)


def _downloaded(path: str) -> BinaryIO:
    url = path if "://" in path else path.replace(":/", "://", 1)
    try:
        import fsspec
    except ImportError as error:
        raise InputError(f"{name_of(url)}: a URL; to read it, run: pip install fsspec, or download it first") from error
    try:
        with fsspec.open(url, "rb") as stream:
            return _spooled(stream, name_of(url))
    except Exception as error:  # every protocol's package has errors of its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"{name_of(url)}: a URL that cannot be read ({reason}); download it first") from error
