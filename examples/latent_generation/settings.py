"""What both commands share: a run's settings, its checkpoint, and how refusals are said."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import typer

from music2latent import InputError
from music2latent.config import check_ranges, checked, ranged

LAST = "last.pt"
"""In a run's folder: weights, averaged weights, optimizer, schedule, settings, and what the latents are."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """By default the tiny size; a TOML file has others."""

    seed: int = ranged(0, 0, 2**31)
    window: int = ranged(64, 8, 2**16)  # latents that the network sees at a time; 64 are 5.9 s
    width: int = ranged(192, 8, 2**16)
    depth: int = ranged(4, 1, 1000)
    heads: int = ranged(4, 1, 1000)
    steps: int = ranged(3000, 1, 10**9)
    batch_size: int = ranged(16, 1, 2**16)  # per process
    lr: float = ranged(1e-3, 1e-9, 1.0)  # the highest: a warm-up leads there, and a cosine down
    ema_decay: float = ranged(0.998, 0.0, 0.999999)  # of the averaged weights, which make the sounds
    save_every: int = ranged(200, 1, 10**9)  # steps between checkpoints, each with a line of losses
    workers: int = ranged(0, 0, 1000)  # processes that read
    bf16: bool = False

    def __post_init__(self) -> None:
        check_ranges("config", self)
        if self.width % (4 * self.heads):
            raise InputError(f"config: width = {self.width}; with {self.heads} heads, a multiple of {4 * self.heads}")

    @classmethod
    def read(cls, path: Path | None) -> Config:
        """The defaults, with what a TOML file sets on top."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as TOML ({error})") from error
        return cls(**checked(str(path), values, asdict(cls())))


def read_run(folder: Path) -> tuple[dict[str, Any], Config]:
    """A run's last checkpoint, and its settings; an InputError if there is none, or it is damaged."""
    path = folder / LAST
    if not path.is_file():
        raise InputError(f"{folder}: no run of train.py; it would have {LAST}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return state, Config(**state["config"])
    except Exception as error:  # whatever a file can hold
        raise InputError(f"{path}: damaged, or of another program ({type(error).__name__}); train anew") from error


def command(function: Callable[..., None]) -> None:
    """A function as a command line: refused input is one line, and exit code 1."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(function)
    try:
        app()
    except (InputError, OSError) as error:
        sys.exit(f"error: {error}")
