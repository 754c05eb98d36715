"""A run's folder:

RUN/run.json              configuration, data and version
RUN/last.pt, best.pt      weights, averaged weights, optimizer, schedule, counters
RUN/stats.jsonl           a line of figures now and then; RUN/tensorboard/ the same with sound and pictures
RUN/index-*.json          what was found in the data folders
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from ..checkpoint import Checkpoint
from ..chunks import ChunkPlan
from ..errors import InputError, check_name
from ..files import replacing
from .config import TrainingConfig

RUN_VERSION = 4
WEIGHTS = ("model", "heads", "ema")
STATE = {
    **{"version": int, "config": str, "iteration": int, "num_seen": int, "best": float},
    **dict.fromkeys((*WEIGHTS, "optimizer", "schedule", "scaler"), dict),
}
"""What `last.pt` and `best.pt` hold: tensors, numbers and JSON, so that reading them runs no code."""
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


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The model that a run started from: its name and licence, and what its latents are, as in `Checkpoint`."""

    model: str
    license: str
    fingerprint: str
    latents_of: tuple[str, ...]
    latent_scale: float
    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]
    chunk_plan: ChunkPlan | None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Origin:
        """What is kept of it."""
        return cls(
            model=checkpoint.model_id,
            license=checkpoint.license,
            fingerprint=checkpoint.fingerprint(),
            latents_of=checkpoint.latents_of,
            latent_scale=checkpoint.latent_scale,
            latent_mean=checkpoint.latent_mean,
            latent_std=checkpoint.latent_std,
            chunk_plan=checkpoint.chunk_plan,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Origin:
        """Out of JSON."""
        for name in ("model", "license"):
            check_name(name, values[name])
        lists = {name: tuple(values[name]) for name in ("latents_of", "latent_mean", "latent_std")}
        plan = ChunkPlan(**values["chunk_plan"]) if values["chunk_plan"] else None
        return cls(**values | lists | {"chunk_plan": plan})


def write_run(folder: Path, config: TrainingConfig, data: Sequence[tuple[Path, float]], origin: Origin | None) -> None:
    """What a run is: its configuration, where its data lies, and the model that it started from, if any."""
    facts: dict[str, Any] = {"version": RUN_VERSION, "origin": asdict(origin) if origin else None}
    facts["data"] = [[str(path.resolve()), weight] for path, weight in data]
    with replacing(folder / "run.json") as partial:
        partial.write_text(json.dumps(facts | config.to_dict(), indent=2) + "\n")


@dataclass(frozen=True)
class RunFacts:
    """What `write_run` wrote, but for the configuration, which every checkpoint holds."""

    data: tuple[tuple[Path, float], ...]
    origin: Origin | None
    """What the run started from; None for new weights."""


def read_run(folder: Path) -> RunFacts:
    """Read a run's facts.

    Raises:
        InputError: no such file, a damaged or a foreign one.
    """
    path = folder / "run.json"
    try:
        facts = json.loads(path.read_bytes())
        if facts["version"] != RUN_VERSION:
            raise ValueError(f"version {facts['version']}")
        origin = Origin.from_dict(facts["origin"]) if facts["origin"] else None
        data = tuple((Path(place), float(weight)) for place, weight in facts["data"])
        if not data or not all(0 < weight < math.inf for _, weight in data):
            raise ValueError(f"data {data}")
        return RunFacts(data, origin)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise InputError(f"{path}: missing, damaged, or not of a training run ({reprlib.repr(error)})") from error


def read_state(path: Path) -> dict[str, Any]:
    """Read a run's checkpoint.

    Raises:
        InputError: a damaged or foreign file, or one that a newer version wrote.
    """
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"{path}: damaged, or not a training checkpoint; move it away to begin anew") from error
    version = state.get("version") if isinstance(state, dict) else None
    if isinstance(version, int) and version != RUN_VERSION:
        raise InputError(f"{path}: written by version {version} of the trainer, this one reads {RUN_VERSION}; update")
    if (
        version is None
        or not all(isinstance(state.get(key), kind) for key, kind in STATE.items())
        or not 0 <= min(state["iteration"], state["num_seen"]) <= max(state["iteration"], state["num_seen"]) < 2**53
        or not all(isinstance(weight, Tensor) for part in WEIGHTS for weight in state[part].values())
        or math.isnan(state["best"])
    ):
        raise InputError(f"{path}: not a checkpoint of music2latent train; move it away, or choose another --output")
    broken = [key for part in WEIGHTS for key, weight in state[part].items() if not weight.isfinite().all()]
    if broken:
        raise InputError(
            f"{path}: {len(broken)} weights are not finite, {broken[0]!r:.80} the first; move it away to begin anew"
        )
    return state


def config_of(state: dict[str, Any], path: Path) -> TrainingConfig:
    """The configuration that a checkpoint was trained with.

    Raises:
        InputError: one that this version cannot train with.
    """
    try:
        return TrainingConfig.from_dict(json.loads(state["config"]))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # InputError is a ValueError
        raise InputError(f"{path}: its configuration cannot be used ({error})") from error


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
