"""The progress bar."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import printable
from ..progress import NamedProgress
from .output import is_quiet


@contextmanager
def progress_bar(total: float | None = 1) -> Iterator[NamedProgress]:
    """A bar on a terminal's standard error, told what is being done and how much of `total` is, where that is known."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=is_quiet() or not console.is_terminal) as progress:
        task = progress.add_task("", total=total)
        yield lambda what, done: progress.update(task, description=escape(printable(what, 80)), completed=done)
