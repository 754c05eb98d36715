"""`dataset.json`, what a data set is, and `failures.jsonl`, what is not in it: both made from the shards' records."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from .. import __version__
from ..codec import EncoderDecoder
from ..errors import InputError
from .plan import RECORDS, numbers, record_name
from .shards import FORMAT_VERSION, Settings
from .statistics import Statistics
from .storage import Storage

NAME, FAILURES = "dataset.json", "failures.jsonl"
PART = re.compile(r"part-(\d+)-of-(\d+)(?:/|$)")
"""Of a name, the folder of a part: a data set of its own, until `merge` joins them."""


def prepare(storage: Storage, codec: EncoderDecoder, settings: Settings) -> None:
    """Begin a data set, or make sure that what is there can be gone on with.

    Raises:
        InputError: a folder of something else, or a data set of another model, other arguments or another version.
    """
    new = {
        "format_version": FORMAT_VERSION,
        "model": {
            "model_id": codec.model_id,
            "fingerprint": codec.fingerprint,
            "latent_dim": codec.latent_dim,
            "latent_scale": codec.latent_scale,
            "sample_rate": codec.sample_rate,
            "frame_size": codec.frame_size,
        },
        "settings": asdict(settings),
        "made_by": f"music2latent {__version__}",
    }
    try:
        old = load(storage)
    except FileNotFoundError:
        check_empty(storage)
        storage.write_json(NAME, new, indent=1)
        return
    if old["model"]["fingerprint"] != codec.fingerprint:
        raise InputError(
            f"{storage.url}: made with the model {old['model']['model_id']!r} ({old['model']['fingerprint'][:12]}), "
            f"not {codec.model_id!r} ({codec.fingerprint[:12]}); choose another output, or that model"
        )
    other = [key for key, value in asdict(settings).items() if old["settings"].get(key) != value]
    if other:
        found = ", ".join(f"{key} {old['settings'].get(key)} (now {asdict(settings)[key]})" for key in other)
        raise InputError(f"{storage.url}: made with {found}; choose another output, or the same arguments")
    storage.write_json(NAME, old | {"complete": False}, indent=1)


def check_empty(storage: Storage) -> None:
    """Refuse a folder that has files and is no data set."""
    there = next((name for name, _ in storage.list() if not name.startswith(".dataset")), None)
    if there is not None:
        raise InputError(
            f"{storage.url}: has {there}, and is no data set; choose an empty folder, or one that is not there yet"
        )


def existing(storage: Storage) -> dict[str, Any]:
    """As `load`; without a data set an InputError."""
    try:
        return load(storage)
    except FileNotFoundError as error:
        raise InputError(f"{storage.url}: no data set, it has no {NAME}") from error


def load(storage: Storage) -> dict[str, Any]:
    """What `dataset.json` says.

    Raises:
        FileNotFoundError: there is none.
        InputError: it is damaged, or of another version.
    """
    found = storage.read_json(NAME)
    if not isinstance(found, dict) or "format_version" not in found:
        raise InputError(f"{storage.url}/{NAME}: not the description of a data set of latents")
    if found["format_version"] != FORMAT_VERSION:
        raise InputError(
            f"{storage.url}: a data set of version {found['format_version']}, this package knows {FORMAT_VERSION}; "
            "a newer release of music2latent may read it"
        )
    if not isinstance(found.get("model"), dict) or not isinstance(found.get("settings"), dict):
        raise InputError(f"{storage.url}/{NAME}: damaged; model or settings are missing")
    return found


def records(storage: Storage) -> Iterator[dict[str, Any]]:
    """The shards' records, in order."""
    for shard in numbers(storage, RECORDS):
        yield storage.read_json(record_name(shard))


def describe(storage: Storage, inputs: Iterable[str], *, complete: bool) -> dict[str, Any]:
    """Write `dataset.json` and `failures.jsonl` anew; returns the former. `complete`: everything was made."""
    description = load(storage)
    description.update(summed(records(storage)))
    description["inputs"] = list(dict.fromkeys([*description.get("inputs", []), *inputs]))
    description["complete"] = complete
    storage.write(FAILURES, "".join(f"{line}\n" for line in failures(storage)).encode())
    storage.write_json(NAME, description, indent=1)
    return description


def failures(storage: Storage) -> Iterator[str]:
    """The lines of `failures.jsonl`."""
    for record in records(storage):
        for failure in record["failures"]:
            yield json.dumps({"shard": record["shard"]} | failure)


def summed(found: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Counts, hours, mean and standard deviation over shards."""
    counts = {"shards": 0, "inputs": 0, "items": 0, "failures": 0, "copies": 0, "bytes": 0}
    statistics, seconds = Statistics(), []
    for record in found:
        counts["shards"] += 1
        counts["inputs"] += record["inputs"]
        for name in ("items", "failures", "copies"):
            counts[name] += len(record[name])
        counts["bytes"] += sum(file["size"] for file in record["files"].values())
        statistics += Statistics.from_dict(record["statistics"])
        seconds.append(record["seconds"])
    known = {"count": statistics.count, "mean": statistics.mean, "std": statistics.std} if statistics.count else None
    return {"counts": counts, "hours": math.fsum(seconds) / 3600, "statistics": known}
