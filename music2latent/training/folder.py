"""A run's folder:

RUN/run.json              configuration, data and version
RUN/last.pt, best.pt      weights, averaged weights, optimizer, schedule, counters
RUN/stats.jsonl           a line of figures now and then; RUN/tensorboard/ the same with sound and pictures
RUN/index-*.json          what was found in the data folders
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from ..errors import InputError
from ..files import replacing
from .config import TrainingConfig

RUN_VERSION = 2
MAY_CHANGE = {"iterations", "workers", "log_every", "validate_every", "save_every", "max_bad_iterations", "compile"}
"""Keys of the recipe that a resumed run may set anew."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a second run out of a folder.

    Raises:
        InputError: one is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock", timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise InputError(f"{folder}: another run is training there; wait for it, or choose another --output") from error
    try:
        yield
    finally:
        lock.release()


def write_run(folder: Path, config: TrainingConfig, data: list[tuple[Path, float]]) -> None:
    """What a run is: its configuration and where its data lies."""
    facts = {"version": RUN_VERSION, "data": [[str(path.resolve()), weight] for path, weight in data]}
    with replacing(folder / "run.json") as partial:
        partial.write_text(json.dumps(facts | config.to_dict(), indent=2) + "\n")


def read_state(path: Path) -> dict[str, Any]:
    """Read a run's checkpoint.

    Raises:
        InputError: a damaged file, or one that a newer version wrote.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path}: damaged, or not a training checkpoint; best.pt may be whole") from error
    if not isinstance(state, dict) or state.get("version") != RUN_VERSION:
        found = state.get("version") if isinstance(state, dict) else None
        raise InputError(f"{path}: written by version {found} of the trainer, this one reads {RUN_VERSION}; update")
    return state


def check_same_run(before: TrainingConfig, now: TrainingConfig, path: Path) -> None:
    """Refuse to resume with another configuration, naming the keys."""
    old, new = _flat(before.to_dict()), _flat(now.to_dict())
    differing = [
        f"{key} was {old.get(key)}, now {new.get(key)}"
        for key in dict.fromkeys([*old, *new])
        if old.get(key) != new.get(key) and key.removeprefix("training.") not in MAY_CHANGE
    ]
    if differing:
        raise InputError(f"{path}: a run of another configuration: {'; '.join(differing)}; choose another --output")


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with keys `table.key`."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
