"""What a run logs: a progress line, stats.jsonl and TensorBoard."""

from __future__ import annotations

import json
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import ModelConfig
from ..stft import picture
from .validation import Validated


@dataclass(kw_only=True)
class Totals:
    """Figures summed up since the last line of stats.jsonl."""

    iterations: int = 0
    bad: int = 0
    sums: dict[str, float] | None = None
    waited: float = 0.0
    begun: float = 0.0

    def add(self, **figures: float) -> None:
        """Count one iteration."""
        self.sums = {key: (self.sums or {}).get(key, 0.0) + value for key, value in figures.items()}
        self.iterations += 1


class Log(AbstractContextManager["Log"]):
    """Only the main process logs; in the others every call does nothing."""

    def __init__(self, folder: Path, iterations: int, start: int, *, enabled: bool) -> None:
        self.enabled = enabled
        if not enabled:
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from torch.utils.tensorboard import SummaryWriter

        self.stats = (folder / "stats.jsonl").open("a")
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=start)
        console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.task = self.progress.add_task("", total=iterations, completed=start, figures="")
        self.progress.start()
        self.begun, self.crops = time.perf_counter(), 0

    def __exit__(self, *_: object) -> None:
        if self.enabled:
            self.progress.stop()
            self.stats.close()
            self.board.close()

    def advance(self, iteration: int, crops: int) -> None:
        """One iteration is done."""
        if self.enabled:
            self.crops += crops
            rate = self.crops / (time.perf_counter() - self.begun)
            self.progress.update(self.task, completed=iteration, figures=f"{rate:.1f} crops/s")

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
        for name, clips in (("original", result.originals), ("reconstruction", result.reconstructions)):
            for number, clip in enumerate(clips):
                self.board.add_audio(f"clip {number}/{name}", clip, iteration, model.sample_rate)
                self.board.add_image(f"spectrogram {number}/{name}", picture(clip, model.hop_length), iteration)

    def _append(self, iteration: int, figures: dict[str, Any]) -> None:
        self.stats.write(json.dumps({"iteration": iteration, **figures}) + "\n")
        self.stats.flush()
        for key, value in figures.items():
            self.board.add_scalar(key, value, iteration)
