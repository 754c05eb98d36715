"""`Collection`: every item of data sets of latents, or of folders of `.m2l` files, by number."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ..errors import InputError
from ..extras import require
from ..latents import Latents
from .description import load
from .formats import FORMATS, Item
from .formats.item import FACTS
from .formats.m2l import M2L, SUFFIX
from .plan import RECORDS, numbers, record_name
from .statistics import Statistics
from .storage import Storage, again

logger = logging.getLogger(__name__)

Paths: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]

_AT_ONCE = 16
"""Records that are read at the same time: on object storage, most of it is waiting."""

_BARE_SHARD = 64
"""Files that stand for a shard where there are none."""

_VERIFY = "music2latent dataset verify tells what else is"

_NOT_PLACES = {"input", "length", "seconds_start", "duration", "num_samples", "padding"}


class Bare(M2L):
    """`.m2l` files alone, as `music2latent encode` writes them: all facts are their own."""

    def read(self, storage: Storage, place: dict[str, Any]) -> Item:
        name = place["file"]
        latents = Latents.from_bytes(storage.read(name), f"{storage.url}/{name}")
        shared = ("sample_rate", "num_samples", "coding_rate", "frame_size", "edge", "model_id", "fingerprint")
        facts = dict.fromkeys(FACTS) | {fact: getattr(latents, fact) for fact in (*shared, "channels", "duration")}
        facts |= {"source": name, "seconds_start": 0.0, "lead": latents.edge, "metadata": {}}
        return Item(key=name.removesuffix(SUFFIX), values=latents.numpy(), facts=facts)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Items `start` to `stop`, which are stored together."""

    storage: int
    """Number of the data set."""
    format: type[M2L] | Any
    start: int
    stop: int


class Collection:
    """Items by number, in the order of paths, shards and places in them.

    Raises:
        InputError: no data set, a damaged or empty one, one of another version, or several of different models.
    """

    def __init__(self, paths: Paths, options: dict[str, Any] | None = None) -> None:
        require("dataset")
        several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        if not several:
            raise InputError("no data set named; expected a folder, a URL, or several of them")
        self._storages, self._process = [Storage(path, options) for path in several], os.getpid()
        self.shards: list[Shard] = []
        self.sums: Statistics | None = Statistics()
        """Over all items; None where one of the paths has none."""
        self.features = False
        self._models: list[tuple[str, str, bool]] = []
        entries: list[bytes] = []
        for number, storage in enumerate(self._storages):
            before = len(entries)
            try:
                description = load(storage)
            except FileNotFoundError:
                self._add_files(number, storage, entries)
            else:
                self._add_shards(number, storage, description, entries)
            if len(entries) == before:
                raise InputError(f"{storage.url}: a data set without items; failures.jsonl there may say why")
        self._check_models()
        # Not a list: workers share the memory of arrays, and would copy that of objects by looking at them.
        self._ends = np.cumsum([0, *map(len, entries)])
        self._entries = np.frombuffer(b"".join(entries), np.uint8)
        self._starts = np.array([shard.start for shard in self.shards])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _add_shards(self, number: int, storage: Storage, description: dict[str, Any], entries: list[bytes]) -> None:
        model, settings = description["model"], description["settings"]
        try:
            format = FORMATS[settings["format"]]
            self._models.append((model["fingerprint"], str(model["model_id"]), bool(settings["features"])))
        except (KeyError, TypeError) as error:
            raise InputError(f"{storage.url}/dataset.json: damaged; its model or settings lack {error}") from error
        if description.get("complete") is False:
            logger.warning("%s: encoding has not come to its end; what is not there yet is left out", storage.url)
        for name, record in _records(storage):
            start = len(entries)
            try:
                entries.extend(_places(record["items"]))
                if self.sums is not None:
                    self.sums += Statistics.from_dict(record["statistics"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                reason = f"{type(error).__name__}: {error}"
                raise InputError(
                    f"{storage.url}/{name}: not the record of a shard ({reason}); encode it again"
                ) from error
            if len(entries) > start:
                self.shards.append(Shard(storage=number, format=format, start=start, stop=len(entries)))

    def _add_files(self, number: int, storage: Storage, entries: list[bytes]) -> None:
        names = [name for name, _ in storage.list(below=True)]
        if part := next((name for name in names if name.endswith("/dataset.json")), None):
            raise InputError(
                f"{storage.url}: no data set, but {part.rpartition('/')[0]} in it is one; name the data sets "
                "themselves, or join them with music2latent dataset merge"
            )
        files = [name for name in names if name.endswith(SUFFIX)]
        if not files:
            raise InputError(
                f"{storage.url}: no data set of latents (dataset.json), and no {SUFFIX} files; "
                "music2latent dataset encode makes one"
            )
        for begin in range(0, len(files), _BARE_SHARD):
            start = len(entries)
            for name in files[begin : begin + _BARE_SHARD]:
                entries.append(json.dumps({"key": name.removesuffix(SUFFIX), "file": name}).encode())
            self.shards.append(Shard(storage=number, format=Bare, start=start, stop=len(entries)))
        first = Bare().read(storage, {"file": files[0]}).facts
        self._models.append((first["fingerprint"], first["model_id"], False))
        self.sums = None

    def _check_models(self) -> None:
        (fingerprint, model_id, self.features), *others = self._models
        self._fingerprint = fingerprint
        for storage, (other, name, features) in zip(self._storages[1:], others, strict=True):
            if other != fingerprint:
                raise InputError(
                    f"{storage.url}: latents of the model {name!r} ({other[:12]}), beside those of {model_id!r} "
                    f"({fingerprint[:12]}); take data sets of one model"
                )
            if features != self.features:
                raise InputError(f"{storage.url}: features beside latents; take data sets of one kind")

    def _storage(self, shard: Shard) -> Storage:
        if self._process != os.getpid():  # connections do not live on in a forked process
            self._storages, self._process = [Storage(one.url, one.options) for one in self._storages], os.getpid()
        return self._storages[shard.storage]

    def _entry(self, index: int) -> dict[str, Any]:
        start, stop = self._ends[index : index + 2]
        return json.loads(self._entries[start:stop].tobytes())

    def read(self, index: int) -> Item:
        """An item by itself.

        Raises:
            InputError: its file is missing, damaged, or another than the record says.
        """
        shard = self.shards[int(np.searchsorted(self._starts, index, side="right")) - 1]
        storage, entry = self._storage(shard), self._entry(index)
        return self._checked(_again(storage, entry, lambda: shard.format().read(storage, entry)), entry)

    def read_all(self, shard: Shard, wanted: Iterable[int]) -> Iterator[tuple[int, Item]]:
        """Some items of a shard with their numbers, in order, its files read from start to end; raises as `read`."""
        storage = self._storage(shard)
        entries = [(index, self._entry(index)) for index in wanted]
        items: Iterator[Item] | None = None

        def following(count: int) -> Item:
            nonlocal items
            reading, items = items or shard.format().read_all(storage, [entry for _, entry in entries[count:]]), None
            item = next(one for one in reading if one.key == entries[count][1]["key"])
            items = reading  # unless it was cut off
            return item

        for count, (index, entry) in enumerate(entries):
            yield index, self._checked(_again(storage, entry, partial(following, count)), entry)

    def _checked(self, item: Item, entry: dict[str, Any]) -> Item:
        if item.key != entry["key"]:
            raise InputError(f"{entry['file']}: has {item.key!r} where {entry['key']!r} was; open the data set again")
        if item.facts["fingerprint"] != self._fingerprint:
            raise InputError(f"{item.key}: latents of another model than the first; take those of one model")
        item.facts.setdefault("seconds_total", entry.get("seconds_total", item.facts["duration"]))
        return item


def _records(storage: Storage) -> Iterator[tuple[str, Any]]:
    names = [record_name(shard) for shard in numbers(storage, RECORDS)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from zip(names, pool.map(storage.read_json, names), strict=True)


def _places(items: list[dict[str, Any]]) -> list[bytes]:
    """What is needed to read each item; and the seconds of the whole that it may be a piece of."""
    totals = {item["input"]: item["seconds_start"] + item["duration"] for item in items}  # the last piece's end
    places = ({name: value for name, value in item.items() if name not in _NOT_PLACES} for item in items)
    return [
        json.dumps({"key": item["key"], "file": item["file"], "seconds_total": totals[item["input"]]} | place).encode()
        for item, place in zip(items, places, strict=True)
    ]


def _again(storage: Storage, entry: dict[str, Any], call: Callable[[], Item]) -> Item:
    """What `call` reads; a connection that is cut is tried again."""
    name = f"{storage.url}/{entry['file']}"

    def checked() -> Item:
        try:
            return call()
        except InputError:
            raise
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise InputError(f"{name}: damaged ({type(error).__name__}: {error}); {_VERIFY}") from error

    try:
        return again(name, checked)
    except FileNotFoundError as error:
        raise InputError(f"{name}: missing; {_VERIFY}") from error
