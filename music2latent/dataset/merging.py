"""`merge`: data sets of disjoint inputs, such as the parts of one, become one."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Any

from ..errors import InputError, printable
from .description import NAME, PART, check_empty, describe, load
from .encoding import LOCK
from .plan import PLAN, numbers, plan_name, read_plan, record_name
from .storage import Storage

_SHARD = re.compile(r"latents-\d+\.")


def merge(sources: Iterable[str], output: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    """Copy the shards of data sets into one, with new numbers; on one disk copies are links, and take no room.

    Args:
        sources: data sets, or folders of parts as `encode(..., part=)` writes them; all parts must be there.
        output: a folder or URL that is new, or the folder of the parts itself. The same call goes on where it stopped.
        options: for fsspec.

    Returns:
        The description of the whole.

    Raises:
        InputError: parts that are missing or not whole, of other models or arguments, or that share inputs or names.
    """
    sets = [part for name in sources for part in _parts(Storage(name, options))]
    target = Storage(output, options)
    described = [_complete(one) for one in sets]
    for one, description in zip(sets, described, strict=True):
        for key in ("model", "settings", "format_version"):
            if description[key] != described[0][key]:
                raise InputError(f"{one.url}: another {key} than {sets[0].url}; only equal ones can be merged")
    with target.claimed(LOCK):
        target.sweep()
        if target.exists(NAME) and load(target).get("complete"):
            raise InputError(f"{target.url}: a whole data set already; choose a new output")
        if not target.exists(NAME):
            check_empty(target)
        first = {key: described[0][key] for key in ("format_version", "model", "settings", "made_by")}
        target.write_json(NAME, first | {"merged": [one.url for one in sets], "complete": False}, indent=1)
        with closing(sqlite3.connect("", isolation_level=None)) as seen:
            seen.execute("CREATE TABLE seen (name TEXT PRIMARY KEY, url TEXT) WITHOUT ROWID")
            new = 0
            for one in sets:
                for shard in numbers(one, PLAN):
                    _copy(one, shard, target, new, seen)
                    new += 1
        names = [name for description in described for name in description.get("inputs", [])]
        return describe(target, names, complete=True)


def _parts(storage: Storage) -> list[Storage]:
    """A data set, or the parts in a folder."""
    if storage.exists(NAME) and not (storage.read_json(NAME).get("merged") and not load(storage).get("complete")):
        return [storage]
    found = {int(match[1]): match for name in storage.folders() if (match := PART.fullmatch(name))}
    if not found:
        raise InputError(f"{storage.url}: no data set, and no folder of parts (part-00001-of-00016)")
    count = int(next(iter(found.values()))[2])
    if missing := [number for number in range(1, count + 1) if number not in found]:
        raise InputError(f"{storage.url}: parts {', '.join(map(str, missing))} of {count} are missing")
    return [Storage(f"{storage.url}/{found[number][0]}", storage.options) for number in sorted(found)]


def _complete(storage: Storage) -> dict[str, Any]:
    try:
        description = load(storage)
    except FileNotFoundError as error:
        raise InputError(f"{storage.url}: not begun, it has no dataset.json") from error
    if not description.get("complete"):
        raise InputError(f"{storage.url}: not whole; run its encode command again first")
    return description


def _copy(source: Storage, shard: int, target: Storage, new: int, seen: sqlite3.Connection) -> None:
    """A shard under its new number: its plan, its files, and its record last."""
    record = source.read_json(record_name(shard))

    def renamed(name: str) -> str:
        return _SHARD.sub(f"latents-{new:06d}.", name) if _SHARD.match(name) else name

    inputs, _ = read_plan(source, shard)
    for name in (*(one.id for one in inputs), *(f"item {item['key']}" for item in record["items"])):
        if seen.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (name, source.url)).rowcount == 0:
            (other,) = seen.execute("SELECT url FROM seen WHERE name = ?", (name,)).fetchone()
            raise InputError(
                f"{printable(name)}: in {source.url} and in {other}; only disjoint data sets can be merged"
            )
    target.write(plan_name(new), source.read(plan_name(shard)))
    for name in record["files"]:
        target.copy(source, name, renamed(name))
    record |= {
        "shard": new,
        "files": {renamed(name): facts for name, facts in record["files"].items()},
        "items": [item | {"file": renamed(item["file"])} for item in record["items"]],
    }
    target.write_json(record_name(new), record)
