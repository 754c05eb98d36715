"""What both commands share: the settings of a run, its file, and how errors are said."""

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
"""In the run's folder: weights, averaged weights, optimizer, schedule, settings, and what the latents are."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """The defaults are the tiny size; a TOML file has others."""

    seed: int = ranged(0, 0, 2**31)
    window: int = ranged(64, 8, 2**16)
    """Latents that the network sees at a time: 64 are 5.9 s."""
    width: int = ranged(192, 8, 2**16)
    depth: int = ranged(4, 1, 1000)
    heads: int = ranged(4, 1, 1000)

    steps: int = ranged(6000, 1, 10**9)
    batch_size: int = ranged(16, 1, 2**16)
    """Crops per step and process."""
    lr: float = ranged(1e-3, 1e-9, 1.0)
    """The highest; a warm-up leads there, and a cosine down."""
    clip_norm: float = ranged(1.0, 1e-6, 1e6)
    ema_decay: float = ranged(0.998, 0.0, 0.999999)
    """Of the averaged weights, which sampling uses."""
    save_every: int = ranged(200, 1, 10**9)
    """Steps between lines of losses, each with a checkpoint."""
    workers: int = ranged(0, 0, 1000)
    """Processes that read."""
    bf16: bool = False

    def __post_init__(self) -> None:
        check_ranges("config", self)
        if self.width % (4 * self.heads):
            raise InputError(f"width = {self.width}, heads = {self.heads}; expected a width of 4 heads or a multiple")

    @classmethod
    def read(cls, path: Path | None) -> Config:
        """The defaults, or what a TOML file sets on top of them."""
        if path is None:
            return cls()
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read as TOML ({error})") from error
        return cls(**checked(str(path), values, asdict(cls())))


def read_run(folder: Path, device: str | torch.device = "cpu") -> dict[str, Any]:
    """A run's last checkpoint.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = folder / LAST
    if not path.is_file():
        raise InputError(f"{folder}: no run of train.py (there is no {LAST}); train one first")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        Config(**state["config"])
    except Exception as error:  # whatever a file can hold
        raise InputError(f"{path}: damaged, or of another program ({type(error).__name__}); train anew") from error
    return state


def command(function: Callable[..., None]) -> None:
    """Run a function as a command line: refused input is one line and exit code 1."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(function)
    try:
        app()
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
