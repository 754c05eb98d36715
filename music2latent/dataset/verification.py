"""`verify`: proves from the files of a data set alone that it is whole, and that every input is accounted for."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any, cast

from ..errors import InputError, printable
from .description import FAILURES, PART, existing, failures, records, summed
from .formats import FORMATS
from .inputs import Input, find
from .plan import PLAN, RECORDS, numbers, read_plan, record_name
from .statistics import Statistics
from .storage import PARTIAL, Storage


def verify(
    output: str | os.PathLike[str],
    *,
    inputs: Iterable[str] = (),
    quick: bool = False,
    options: dict[str, Any] | None = None,
    output_options: dict[str, Any] | None = None,
    progress: Callable[[float], None] = lambda done: None,
) -> Iterator[str]:
    """What is wrong with a data set, a line each; nothing at all if it is whole.

    Every planned input is in exactly one shard, once, or in `failures.jsonl`, or a copy of one that is; every shard has
    the files that its record names, byte for byte, with the items that the record names; `dataset.json` has the sums.

    Args:
        output: the data set.
        inputs: what it was made of, if that is to be looked at too: each must be in the plan as it is now.
        quick: look at sizes in place of contents.
        options, output_options: as in `encode`.
        progress: told the fraction of shards that are done.

    Raises:
        InputError: no data set, or one of another version.
    """
    storage = Storage(output, output_options)
    description = existing(storage)
    with closing(_Index()) as index:
        planned, made = numbers(storage, PLAN), set(numbers(storage, RECORDS))
        for count, shard in enumerate(planned, 1):
            if shard in made:
                yield from _shard(storage, description, shard, index, quick)
            else:
                yield f"shard {shard}: missing; run the same encode command again"
            progress(count / len(planned))
        for shard in sorted(made - set(planned)):
            yield f"shard {shard}: has no plan"
        yield from index.problems()
        if not description.get("complete"):
            yield "the last run did not reach its end, inputs may be missing; run the same encode command again"
        try:
            yield from _sums(storage, description)
        except (InputError, KeyError, TypeError) as error:
            yield f"dataset.json: cannot be compared with damaged records ({error})"
        yield from _strays(storage, description, index)
        for one in find(inputs, options):
            known = index.one("SELECT state FROM sources WHERE source = ?", one.id)
            if known is None or known[0] != one.state:
                yield f"{printable(one.source)}: {'not in the data set' if known is None else 'changed since'}"


class _Index:
    """Names that were seen, on disk: there may be ten millions."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # a temporary file
        self._db.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN;"
            "CREATE TABLE sources (source TEXT PRIMARY KEY, state TEXT, stored INT) WITHOUT ROWID;"
            "CREATE TABLE copies (source TEXT, original TEXT);"
            "CREATE TABLE names (name TEXT PRIMARY KEY) WITHOUT ROWID;"
        )

    def one(self, query: str, *values: Any) -> Any:
        return self._db.execute(query, values).fetchone()

    def add(self, one: Input, shard: int, stored: bool) -> Iterator[str]:
        try:
            self._db.execute("INSERT INTO sources VALUES (?, ?, ?)", (one.id, one.state, stored))
        except sqlite3.IntegrityError:
            yield f"{printable(one.source)}: in shard {shard} and in an earlier one"
        if one.same_as:
            self._db.execute("INSERT INTO copies VALUES (?, ?)", (one.id, one.same_as))

    def name(self, name: str) -> bool:
        """Whether a file's or item's name is new."""
        return self._db.execute("INSERT OR IGNORE INTO names VALUES (?)", (name,)).rowcount == 1

    def problems(self) -> Iterator[str]:
        query = (
            "SELECT copies.source, original FROM copies LEFT JOIN sources ON sources.source = original "
            "WHERE stored IS NOT 1"
        )
        for source, original in self._db.execute(query):
            yield f"{printable(source)}: a copy of {printable(original)}, which is in no shard"

    def close(self) -> None:
        self._db.close()


def _shard(storage: Storage, description: dict[str, Any], shard: int, index: _Index, quick: bool) -> Iterator[str]:
    """Plan, record and files of a shard against each other."""
    try:
        inputs, digest = read_plan(storage, shard)
        record = storage.read_json(record_name(shard))
        fates = Counter(dict.fromkeys((item["input"] for item in record["items"]), 1))
        fates.update(one["source"] for one in (*record["failures"], *record["copies"]))
        stored = {item["input"] for item in record["items"]}
        for one in inputs:
            if fates[one.source] != 1:
                yield f"{printable(one.source)}: {'lost' if not fates[one.source] else 'twice'} in shard {shard}"
            yield from index.add(one, shard, one.source in stored)
        if set(fates) - {one.source for one in inputs}:
            yield f"shard {shard}: has inputs that its plan has not"
        if record["plan"] != digest:
            yield f"shard {shard}: made for another plan; run the same encode command again"
        for name, facts in record["files"].items():
            if not index.name(f"file {name}"):
                yield f"{name}: in two shards"
            yield from _file(storage, name, facts, quick)
        for item in record["items"]:
            if not index.name(f"item {item['key']}"):
                yield f"{item['key']}: two items of this name"
        if not quick:
            yield from _items(storage, description, record)
    except FileNotFoundError:
        yield f"shard {shard}: not whole"
    except InputError as error:
        yield f"shard {shard}: {error}"
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        yield f"shard {shard}: its plan or record is damaged ({type(error).__name__}: {error})"


def _file(storage: Storage, name: str, facts: dict[str, Any], quick: bool) -> Iterator[str]:
    try:
        with storage.open(name) as file:
            size = file.seek(0, 2)
            file.seek(0)
            if size != facts["size"]:
                yield f"{name}: {size} bytes, not {facts['size']} as when it was written"
            elif not quick and hashlib.file_digest(cast(Any, file), "sha256").hexdigest() != facts["sha256"]:
                yield f"{name}: its content is not what was written"
    except FileNotFoundError:
        yield f"{name}: missing"


def _items(storage: Storage, description: dict[str, Any], record: dict[str, Any]) -> Iterator[str]:
    """The items in the files against the record, and its statistics, where they are of what is stored."""
    statistics = Statistics()
    found = FORMATS[description["settings"]["format"]]().read_all(storage, record["items"])
    count = 0
    for item, expected in zip(found, record["items"], strict=False):
        count += 1
        facts = item.facts
        if (item.key, item.values.shape[-1], facts["source"]) != tuple(
            expected[key] for key in ("key", "length", "input")
        ):
            yield f"{expected['key']}: not what the record of shard {record['shard']} says"
        if facts["fingerprint"] != description["model"]["fingerprint"]:
            yield f"{item.key}: of another model, {facts['model_id']} ({facts['fingerprint'][:12]})"
        if item.values.dtype == "float16":
            statistics += Statistics.of(item.values)
    if count != len(record["items"]):
        yield f"shard {record['shard']}: {count} items, not {len(record['items'])} as its record says"
    settings = description["settings"]
    if not (settings["int8"] or settings["crop_seconds"]) and statistics.to_dict() != record["statistics"]:
        yield f"shard {record['shard']}: other statistics than its record says"


def _sums(storage: Storage, description: dict[str, Any]) -> Iterator[str]:
    """`dataset.json` and `failures.jsonl` against the records."""
    for key, value in summed(records(storage)).items():
        if description.get(key) != value:
            yield f"dataset.json: its {key} are not the sum of the shards; run the same encode command again"
    try:
        lines = storage.read(FAILURES).decode().splitlines()
    except FileNotFoundError:
        lines = []
    if lines != list(failures(storage)):
        yield f"{FAILURES}: not the failures of the shards; run the same encode command again"


def _strays(storage: Storage, description: dict[str, Any], index: _Index) -> Iterator[str]:
    """Files that no shard has."""
    suffix = FORMATS[description["settings"]["format"]].suffix
    for name, _ in storage.list(below=True):
        if name.startswith(f"{PARTIAL}/"):
            yield f"{name}: left half-written by a run that was killed; the next run removes it"
        elif name.endswith(suffix) and not PART.match(name) and index.name(f"file {name}"):
            yield f"{name}: in no shard's record"
