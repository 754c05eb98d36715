"""A folder of this machine or behind a URL of fsspec's: files written whole or not at all, and one job at a time."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import Any, BinaryIO, TypeVar

from ..errors import InputError
from ..opening import is_url, name_of

Result = TypeVar("Result")

TRIES = 5
"""A request that fails for other reasons than its arguments is made so often, after 0.1, 0.4, 1.6 and 6.4 seconds."""

PARTIAL = ".dataset/partial"
"""Where files of this machine are written before they are whole."""

LEASE_SECONDS = 60.0
"""On object storage, which has no locks: a job that has not said for so long that it lives is dead."""


def open_filesystem(url: str, options: dict[str, Any] | None = None) -> tuple[Any, str]:
    """fsspec's file system of a path or URL, and the path there.

    Raises:
        InputError: an unknown protocol, or a package of it that is missing.
    """
    from fsspec.core import url_to_fs

    try:
        fs, path = url_to_fs(url, use_listings_cache=False, **options or {})
    except (ValueError, ImportError, TypeError) as error:
        raise InputError(f"{name_of(url)}: {error}") from error
    return fs, path


def again(name: str, call: Callable[[], Result]) -> Result:
    """What `call` returns. A connection that is cut is tried again; what is missing or not allowed is not.

    Raises:
        FileNotFoundError: as it came, for a missing file.
        InputError: everything else, in one line.
    """
    for wait in (*(0.1 * 4**number for number in range(TRIES - 1)), None):
        try:
            return call()
        except FileNotFoundError:
            raise
        except InputError:
            raise
        except Exception as error:  # every protocol's package has errors of its own
            lasting = isinstance(error, (PermissionError, IsADirectoryError, NotADirectoryError, MemoryError))
            lasting = lasting or "redentials" in f"{type(error).__name__}{error}" or _is_full(error)
            if wait is None or lasting:
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
                raise InputError(f"{name_of(name)}: {reason}") from error
        time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (27, 28, 30, 122)  # too large, full, read-only, quota


class Storage:
    """The folder of a data set. Names are relative to it, with slashes.

    Raises:
        InputError: a URL of an unknown kind.
    """

    def __init__(self, url: str | os.PathLike[str], options: dict[str, Any] | None = None) -> None:
        self.url = os.fspath(url).rstrip("/") or "/"
        self.options = options
        self.is_local = not is_url(self.url) or self.url.startswith(("file:", "local:"))
        self._fs, self._root = open_filesystem(self.url, options)
        self._root = self._root.rstrip("/")

    def __reduce__(self) -> Any:
        return Storage, (self.url, self.options)

    def local_path(self, name: str) -> Path:
        """Where a file of a folder of this machine is."""
        return Path(self._root, name)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return again(self._named(name), lambda: self._fs.isfile(self._path(name)))

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is none.
            InputError: it cannot be read.
        """
        return again(self._named(name), lambda: self._fs.cat_file(self._path(name)))

    def read_json(self, name: str) -> Any:
        """A JSON file's content; raises as `read`, and InputError for anything that is no JSON."""
        try:
            return json.loads(self.read(name))
        except ValueError as error:
            raise InputError(f"{self._named(name)}: damaged, no JSON ({error})") from error

    def open(self, name: str) -> BinaryIO:
        """A file, to be read and sought."""
        return again(self._named(name), lambda: self._fs.open(self._path(name), "rb"))

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Some of a file's bytes."""
        return again(self._named(name), lambda: self._fs.cat_file(self._path(name), start=start, end=stop))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        if self.is_local:
            with self._replacing(name) as partial:
                partial.write_bytes(content)
        else:
            self._send(name, lambda: self._fs.pipe_file(self._path(name), content))

    def _send(self, name: str, call: Callable[[], Any]) -> None:
        try:
            again(self._named(name), call)
        except FileNotFoundError as error:
            raise InputError(f"{name_of(self._named(name))}: no such bucket or folder; make it first") from error

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        """A path for a file of this machine that takes its place when it is whole. A kill leaves it in `PARTIAL`."""
        partial, target = self.local_path(f"{PARTIAL}/{uuid.uuid4().hex}"), self.local_path(name)
        try:
            partial.parent.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            os.replace(partial, target)
        except OSError as error:
            raise InputError(
                f"{target}: cannot be written ({error.strerror or error}); nothing was left there"
            ) from error
        finally:
            with suppress(OSError):
                partial.unlink()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder of this machine for files that are put here when they are whole; it is removed in the end."""
        parent = self.local_path(PARTIAL) if self.is_local else None
        if parent:
            parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="music2latent-", dir=parent) as folder:
            yield Path(folder)

    def sweep(self) -> None:
        """Remove what a job that was killed has left half-written."""
        if self.is_local:
            shutil.rmtree(self.local_path(PARTIAL), ignore_errors=True)

    def write_json(self, name: str, content: Any, *, indent: int | None = None) -> None:
        """The same for JSON."""
        self.write(name, json.dumps(content, indent=indent).encode())

    def put(self, path: Path, name: str) -> None:
        """Move a file of this machine to the folder, whole or not at all."""
        if self.is_local:
            with self._replacing(name) as partial:
                shutil.move(path, partial)
        else:
            self._send(name, lambda: self._fs.put_file(str(path), self._path(name)))

    def copy(self, source: Storage, name: str, target: str) -> None:
        """Copy a file of another storage here: as a link where both are on one disk, else whole or not at all."""
        if self.is_local and source.is_local:
            with self._replacing(target) as partial:
                try:
                    os.link(source.local_path(name), partial)
                except OSError:
                    shutil.copyfile(source.local_path(name), partial)
        elif not self.is_local and type(self._fs) is type(source._fs):
            self._send(target, lambda: self._fs.cp_file(source._path(name), self._path(target)))
        else:
            self.write(target, source.read(name))

    def list(self, folder: str = "", *, below: bool = False) -> Iterator[tuple[str, int]]:
        """Names and sizes of the files in a folder, sorted; with `below`, of those in its folders too."""
        path = self._path(folder).rstrip("/")
        try:
            found = again(self._named(folder), lambda: self._fs.ls(path, detail=True))
        except FileNotFoundError:
            return
        for entry in sorted(found, key=lambda entry: entry["name"]):
            name = entry["name"].rstrip("/")[len(self._root) + 1 :]
            if entry["type"] == "file" and name != folder:
                yield name, entry["size"]
            elif below and entry["type"] == "directory" and entry["name"].rstrip("/") != path:
                yield from self.list(name, below=True)

    def folders(self) -> Sequence[str]:
        """Names of the folders here, sorted."""
        try:
            found = again(self.url, lambda: self._fs.ls(self._root, detail=True))
        except FileNotFoundError:
            return []
        return sorted(
            entry["name"].rstrip("/")[len(self._root) + 1 :] for entry in found if entry["type"] == "directory"
        )

    def remove(self, name: str) -> None:
        """Remove a file, if there is one."""
        with suppress(FileNotFoundError):
            again(self._named(name), lambda: self._fs.rm_file(self._path(name)))

    @contextmanager
    def claimed(self, name: str) -> Iterator[None]:
        """The one job that writes here, as long as this lasts.

        Raises:
            InputError: another job is at it.
        """
        refusal = f"{self.url}: another job writes there; wait for it, or give both disjoint parts with --part"
        if self.is_local:
            from filelock import FileLock, Timeout

            try:
                self.local_path(name).parent.mkdir(parents=True, exist_ok=True)
                with FileLock(self.local_path(name), timeout=0):
                    yield
            except Timeout as error:
                raise InputError(refusal) from error
            except OSError as error:
                raise InputError(f"{self.url}: cannot be written ({error.strerror or error})") from error
        else:
            with self._leased(name, refusal):
                yield

    @contextmanager
    def _leased(self, name: str, refusal: str) -> Iterator[None]:
        """A file that says who works here, renewed as long as this lasts."""
        own = uuid.uuid4().hex
        try:
            lease = self.read_json(name)
        except FileNotFoundError:
            lease = {"until": 0}
        if (left := lease["until"] - time.time()) > 0:
            raise InputError(f"{refusal}; if it was killed, its claim ends in {left:.0f} s")

        def renew() -> None:
            self.write_json(name, {"job": own, "until": time.time() + LEASE_SECONDS})

        renew()
        time.sleep(0.2)  # of two that came at the same moment, the later one's file stays
        if self.read_json(name)["job"] != own:
            raise InputError(refusal)
        ended = Event()

        def keep() -> None:
            while not ended.wait(LEASE_SECONDS / 4):
                renew()

        thread = Thread(target=keep, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.remove(name)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _named(self, name: str) -> str:
        return f"{self.url}/{name}" if name else self.url
