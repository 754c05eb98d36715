"""The plan: which inputs each shard holds, decided before the shard is made, and kept beside the shards.

`.dataset/plan/000000.jsonl` has a line per input of shard 0; `.dataset/shards/000000.json`, its record, is written when
that shard is whole, and says what became of each. A shard whose record does not name its plan's hash is to be made.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from hashlib import sha256
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import InputError
from .inputs import Input
from .storage import Storage

PLAN, RECORDS = ".dataset/plan", ".dataset/shards"
MOST_INPUTS = 10_000
"""Inputs of a shard at most, however short they are."""

logger = logging.getLogger(__name__)

_BYTES_PER_SECOND = dict.fromkeys((".wav", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64"), 176_400) | {
    ".flac": 90_000
}
_COMPRESSED = 20_000  # bytes per second of every other format, about


def plan_name(shard: int) -> str:
    """Where a shard's plan is."""
    return f"{PLAN}/{shard:06d}.jsonl"


def record_name(shard: int) -> str:
    """Where a shard's record is."""
    return f"{RECORDS}/{shard:06d}.json"


def numbers(storage: Storage, folder: str) -> list[int]:
    """Numbers of the shards that have a file in this folder, sorted."""
    stems = (name.rpartition("/")[2].partition(".")[0] for name, _ in storage.list(folder))
    return [int(stem) for stem in stems if stem.isdecimal()]


def read_plan(storage: Storage, shard: int) -> tuple[list[Input], str]:
    """A shard's inputs, and its plan's hash."""
    content = storage.read(plan_name(shard))
    return [Input.from_json(line) for line in content.splitlines()], sha256(content).hexdigest()


def seconds_of(one: Input) -> float:
    """About how long an input is, from its size and suffix alone; nothing is opened for it."""
    if one.seconds is not None:
        return one.seconds
    return (one.size or 1_000_000) / _BYTES_PER_SECOND.get(one.suffix, _COMPRESSED)


class Plan:
    """What is to be done: the shards that are missing, then what is new, as it is found.

    Args:
        storage: the data set.
        key: an input -> what its latents shall be called, before that is made unique.
        shard_seconds: audio in a shard, about.
        unique: an input -> hash of its content, where inputs of equal content are to be encoded once.
        retry_failures: whether shards with failures are made again.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        key: Callable[[Input], str],
        shard_seconds: float,
        unique: Callable[[Input], str] | None = None,
        retry_failures: bool = False,
    ) -> None:
        self._retry = retry_failures
        self.storage, self._key, self._shard_seconds, self._unique = storage, key, shard_seconds, unique
        self.counts: Counter[str] = Counter()
        """Inputs `known` from earlier runs, `new`, `changed`, `twice` (named more than once) and `gone`."""
        self._folder = TemporaryDirectory(prefix="music2latent-")
        # On disk: ten million paths are not held in memory.
        self._index = sqlite3.connect(
            f"{self._folder.name}/index.sqlite", isolation_level=None, check_same_thread=False
        )
        self._index.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN;"
            "CREATE TABLE inputs (source TEXT PRIMARY KEY, state TEXT, shard INT, seen INT) WITHOUT ROWID;"
            "CREATE TABLE keys (key TEXT PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE contents (hash TEXT PRIMARY KEY, source TEXT) WITHOUT ROWID;"
            "CREATE TABLE copies (source TEXT PRIMARY KEY, original TEXT, shard INT) WITHOUT ROWID;"
            "CREATE TABLE changed (source TEXT PRIMARY KEY, line TEXT) WITHOUT ROWID;"
        )
        self._next = 0

    def close(self) -> None:
        """Remove the index."""
        self._index.close()
        self._folder.cleanup()

    def shards(self, inputs: Iterable[Input]) -> Iterator[int]:
        """Numbers of the shards to be made: of earlier plans first, then of inputs that are new, then of changed ones.

        A shard's plan is stored before its number is given out.
        """
        yield from self._missing()
        waiting: list[Input] = []
        seconds, changed = 0.0, set()
        for one in inputs:
            shard, is_new = self._place(one)
            if shard is not None:
                changed.add(shard)
            if is_new:
                waiting.append(self._named(one))
                seconds += seconds_of(one)
                if seconds >= self._shard_seconds or len(waiting) == MOST_INPUTS:
                    yield self._store(waiting)
                    waiting, seconds = [], 0.0
        if waiting:
            yield self._store(waiting)
        yield from self._renewed(changed)
        self.counts["gone"] = self._one("SELECT COUNT(*) FROM inputs WHERE seen = 0")[0]

    def _missing(self) -> Iterator[int]:
        """Read the plans of earlier runs; numbers of their shards that are not whole."""
        done = set(numbers(self.storage, RECORDS))
        for shard in numbers(self.storage, PLAN):
            inputs, digest = read_plan(self.storage, shard)
            self._next = shard + 1
            self._index.executemany(
                "INSERT OR IGNORE INTO inputs VALUES (?, ?, ?, 0)",
                [(one.id, one.state, shard) for one in inputs],
            )
            keys = [(one.name,) for one in inputs if not one.problem]
            self._index.executemany("INSERT OR IGNORE INTO keys VALUES (?)", keys)
            if self._unique:
                hashes = [(one.content, one.id) for one in inputs if one.content and not one.same_as]
                self._index.executemany("INSERT OR IGNORE INTO contents VALUES (?, ?)", hashes)
                copies = [(one.id, one.same_as, shard) for one in inputs if one.same_as]
                self._index.executemany("INSERT OR IGNORE INTO copies VALUES (?, ?, ?)", copies)
            if shard not in done or self._is_stale(shard, digest):
                yield shard

    def _is_stale(self, shard: int, digest: str) -> bool:
        """Whether a shard that was made is to be made again."""
        try:
            record = self.storage.read_json(record_name(shard))
            return record["plan"] != digest or (self._retry and bool(record["failures"]))
        except (InputError, KeyError, TypeError):
            return True

    def _place(self, one: Input) -> tuple[int | None, bool]:
        """The shard that holds another state of this input, and whether no shard holds it."""
        known = self._one("SELECT state, shard, seen FROM inputs WHERE source = ?", one.id)
        if known is None:
            self._index.execute("INSERT INTO inputs VALUES (?, ?, ?, 1)", (one.id, one.state, self._next))
            self.counts["new"] += 1
            return None, True
        state, shard, seen = known
        if seen:
            self.counts["twice"] += 1
            return None, False
        self.counts["known"] += 1
        self._index.execute("UPDATE inputs SET state = ?, seen = 1 WHERE source = ?", (one.state, one.id))
        if state == one.state:
            return None, False
        self.counts["changed"] += 1
        self._index.execute("INSERT INTO changed VALUES (?, ?)", (one.id, one.to_json()))
        return shard, False

    def _named(self, one: Input) -> Input:
        """With a name that no other has, and noted as equal to another where that is asked for."""
        if not one.problem:
            name = wanted = self._key(one)
            count = 1
            while self._one("SELECT 1 FROM keys WHERE key = ?", name):
                count += 1
                name = f"{wanted}-{one.suffix[1:]}" if count == 2 and one.suffix else f"{wanted}-{count}"
            self._index.execute("INSERT INTO keys VALUES (?)", (name,))
            one = replace(one, name=name)
        return self._compared(one)

    def _compared(self, one: Input) -> Input:
        if self._unique and not one.problem and (digest := self._unique(one)):
            first = self._one("SELECT source FROM contents WHERE hash = ?", digest)
            if first is None:
                self._index.execute("INSERT INTO contents VALUES (?, ?)", (digest, one.id))
            return replace(one, content=digest, same_as=first[0] if first and first[0] != one.source else None)
        return one

    def _renewed(self, changed: Iterable[int]) -> Iterator[int]:
        """Plans with the inputs as they are now. Copies of what has changed are no copies any more."""
        self._index.execute("DELETE FROM contents WHERE source IN (SELECT source FROM changed)")
        lost = self._index.execute("SELECT shard FROM copies WHERE original IN (SELECT source FROM changed)").fetchall()
        for shard in sorted({*changed, *(row[0] for row in lost)}):
            inputs, _ = read_plan(self.storage, shard)
            renewed = []
            for one in inputs:
                if line := self._one("SELECT line FROM changed WHERE source = ?", one.id):
                    one = self._compared(replace(Input.from_json(line[0]), name=one.name))
                elif one.same_as and self._one("SELECT 1 FROM changed WHERE source = ?", one.same_as):
                    one = self._compared(replace(one, same_as=None))
                renewed.append(one)
            self._write(shard, renewed)
            yield shard

    def _store(self, inputs: list[Input]) -> int:
        shard, self._next = self._next, self._next + 1
        self._write(shard, inputs)
        return shard

    def _write(self, shard: int, inputs: list[Input]) -> None:
        self.storage.write(plan_name(shard), "".join(f"{one.to_json()}\n" for one in inputs).encode())

    def _one(self, query: str, *values: Any) -> Any:
        return self._index.execute(query, values).fetchone()

    def summary(self) -> str:
        """What was found, in a line."""
        words = {
            "new": "new",
            "known": "known",
            "changed": "changed",
            "twice": "named twice",
            "gone": "not found again",
        }
        found = [f"{self.counts[key]} {word}" for key, word in words.items() if self.counts[key]]
        return f"inputs: {', '.join(found) or 'none'}"
