"""Who looks at the page: every open page has its own folder, latents and job, and nothing of another's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from threading import Event, Lock

from ..latents import Latents
from ..progress import NamedProgress


class Cancelled(Exception):
    """The visitor cancelled the job, or left."""


class Visitor:
    """One open page.

    Args:
        folder: of its files, which this owns.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name, self.latents = "", None
        self.encoded: dict[tuple[str, Path], Latents] = {}
        self._stop = Event()

    name: str
    latents: Latents | None
    """What was coded last, to be edited, and its name."""

    @contextmanager
    def job(self, progress: NamedProgress) -> Iterator[tuple[Path, NamedProgress]]:
        """A folder for one job's results, and a progress callback that ends the job by raising `Cancelled` once `stop`
        was called. Results of a job that fails are removed."""
        self._stop = stop = Event()
        folder = Path(mkdtemp(dir=self.folder))

        def report(what: str, done: float) -> None:
            if stop.is_set():
                raise Cancelled
            progress(what, done)

        try:
            yield folder, report
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def stop(self) -> None:
        """End the job that runs, if one does."""
        self._stop.set()


class Visitors:
    """All visitors by the session's name.

    Args:
        folder: below which every visitor gets one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Visitor] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, session: str) -> Visitor:
        """The visitor of a session, known or new."""
        with self._lock:
            if session not in self._known:
                self._known[session] = Visitor(Path(mkdtemp(dir=self._folder, prefix="visitor-")))
            return self._known[session]

    def stop(self, session: str) -> None:
        """End what runs for a session, if anything does."""
        if visitor := self._known.get(session):
            visitor.stop()

    def leave(self, session: str) -> None:
        """Forget a session: its job is ended, its files are deleted."""
        with self._lock:
            visitor = self._known.pop(session, None)
        if visitor:
            visitor.stop()
            shutil.rmtree(visitor.folder, ignore_errors=True)
