"""What a run logs: a progress line, stats.jsonl and TensorBoard."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import ModelConfig
from ..stft import picture
from .validation import Validated

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


@dataclass(kw_only=True)
class Totals:
    """Figures summed up since the last line of stats.jsonl."""

    iterations: int = 0
    bad: int = 0
    sums: dict[str, float] | None = None
    waited: float = 0.0
    begun: float = field(default_factory=time.perf_counter)

    def add(self, **figures: float) -> None:
        """Count one iteration."""
        self.sums = {key: (self.sums or {}).get(key, 0.0) + value for key, value in figures.items()}
        self.iterations += 1


class Log:
    """Only the main process logs; in the others every call does nothing.

    Args:
        folder: the run folder.
        iterations: of the whole schedule.
        say: what lines for people go to.
        enabled: off in all processes but one.
    """

    def __init__(self, folder: Path, iterations: int, say: Callable[[str], None], *, enabled: bool) -> None:
        self.folder, self.iterations, self._say, self.enabled = folder, iterations, say, enabled

    @contextmanager
    def writing(self, start: int) -> Iterator[None]:
        """The run goes on from iteration `start`: stats.jsonl and TensorBoard are open, and a bar is on a terminal."""
        if not self.enabled:
            yield
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        figures = TextColumn("{task.fields[figures]}")
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), figures, TimeRemainingColumn())
        self.progress = Progress(*columns, console=console, disable=not console.is_terminal)
        self.task = self.progress.add_task("", total=self.iterations, completed=start, figures="")
        self.board = _board(self.folder / "tensorboard", start, self._say)
        self.begun: float | None = None
        with (self.folder / "stats.jsonl").open("a") as self.stats:
            self.progress.start()
            try:
                yield
            finally:
                if self.board:
                    self.board.close()
                with suppress(OSError):  # a terminal that has been closed
                    self.progress.stop()

    def say(self, line: str) -> None:
        """A line for people."""
        if self.enabled:
            self._say(line)

    def advance(self, iteration: int, crops: int, totals: Totals) -> None:
        """One iteration is done: a line about the first, and then ever fewer, down to one in ten minutes."""
        if not self.enabled:
            return
        now = time.perf_counter()
        loss = totals.sums["loss"] / totals.iterations if totals.sums else math.nan
        so_far = f"iteration {iteration} of {self.iterations}: loss {loss:.4g}"
        if self.begun is None:  # what is compiled and read first says nothing about the rest
            self.start, self.begun, self.next_line = iteration, now, now + 5
            self.say(so_far)
            return
        seconds, done = now - self.begun, iteration - self.start
        rate = f"{done * crops / seconds:.1f} crops/s"
        self.progress.update(self.task, completed=iteration, figures=rate)
        if now >= self.next_line:
            self.next_line = now + min(600.0, max(5.0, seconds))
            self.say(f"{so_far}, {rate}, {duration(seconds / done * (self.iterations - iteration))} left")

    def write(self, iteration: int, num_seen: int, totals: Totals, crops: int) -> None:
        """Write the means since the last line."""
        if not self.enabled or totals.sums is None:
            return
        seconds = time.perf_counter() - totals.begun
        figures = {key: value / totals.iterations for key, value in totals.sums.items()}
        figures |= {
            "crops_per_second": totals.iterations * crops / seconds,
            "waiting_for_data": totals.waited / seconds,
            "skipped_iterations": float(totals.bad),
        }
        self._append(iteration, {"num_seen": num_seen, **figures})

    def validation(self, iteration: int, result: Validated, model: ModelConfig) -> None:
        """Write the figures of a validation, and its clips to listen to and look at."""
        if not self.enabled:
            return
        self._append(iteration, {f"validation/{key}": value for key, value in result.metrics.items()})
        if not self.board:
            return
        for name, clips in (("original", result.originals), ("reconstruction", result.reconstructions)):
            for number, clip in enumerate(clips):
                self.board.add_audio(f"clip {number}/{name}", clip, iteration, model.sample_rate)
                self.board.add_image(f"spectrogram {number}/{name}", picture(clip, model.hop_length), iteration)

    def _append(self, iteration: int, figures: dict[str, Any]) -> None:
        self.stats.write(json.dumps({"iteration": iteration, **figures}) + "\n")
        self.stats.flush()
        if self.board:
            for key, value in figures.items():
                self.board.add_scalar(key, value, iteration)


def _board(folder: Path, start: int, say: Callable[[str], None]) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        say(f"no TensorBoard ({error}): figures go to stats.jsonl alone; to have it, pip install tensorboard")
        return None
    return SummaryWriter(str(folder), purge_step=start)


def duration(seconds: float) -> str:
    """A time for people: seconds up to two minutes, minutes up to two hours, hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
