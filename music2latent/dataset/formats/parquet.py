"""Parquet: `latents-000000.parquet`, a row for every item: `values`, flat, their `shape`, and the facts as columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ..storage import Storage
from .item import FACTS, Item

_ROWS = 16
"""In a group, which is read at a time."""

_TYPES = {
    "string": ("source", "hash", "etag", "model_id", "fingerprint", "metadata"),
    "int64": ("size", "num_samples"),
    "int32": ("sample_rate", "channels", "coding_rate", "frame_size", "edge", "lead"),
    "float64": ("seconds_start", "seconds_total", "duration", "scale"),
}


class Parquet:
    """Places are {"file", "row"}. Metadata is JSON, as rows may have others."""

    suffix = ".parquet"
    lead_is_half = False
    stem_has_dots = True

    def open(self, folder: Path, shard: int) -> None:
        self._path = folder / f"latents-{shard:06d}.parquet"
        self._writer: Any = None
        self._rows: list[Item] = []
        self._count = 0

    def add(self, item: Item) -> dict[str, Any]:
        self._rows.append(item)
        self._count += 1
        if len(self._rows) == _ROWS:
            self._flush()
        return {"file": self._path.name, "row": self._count - 1}

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kind = pa.from_numpy_dtype(self._rows[0].values.dtype if self._rows else np.float16)
        columns = {
            "key": pa.array([item.key for item in self._rows], pa.string()),
            "values": pa.array([item.values.ravel() for item in self._rows], pa.list_(kind)),
            "shape": pa.array([list(item.values.shape) for item in self._rows], pa.list_(pa.int32(), 3)),
        }
        for type, names in _TYPES.items():
            for name in names:
                found = [item.facts[name] for item in self._rows]
                columns[name] = pa.array(map(json.dumps, found) if name == "metadata" else found, type)
        table = pa.table(columns)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._path, table.schema)
        self._writer.write_table(table)
        self._rows = []

    def close(self) -> list[str]:
        if self._rows or self._writer is None:
            self._flush()
        self._writer.close()
        return [self._path.name]

    def read(self, storage: Storage, place: dict[str, Any]) -> Item:
        group, row = divmod(place["row"], _ROWS)
        return _item(_group(storage, place["file"], group), row)

    def read_all(self, storage: Storage, places: list[dict[str, Any]]) -> Iterator[Item]:
        for place in places:
            yield self.read(storage, place)


@lru_cache(2)
def _group(storage: Storage, name: str, group: int) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with storage.open(name) as file, pq.ParquetFile(file) as table:
            return table.read_row_group(group)
    except pa.ArrowInvalid as error:
        raise InputError(f"{name}: truncated, or not a Parquet file ({error})") from error


def _item(table: Any, row: int) -> Item:
    facts = {name: table[name][row].as_py() for name in FACTS}
    facts["metadata"] = json.loads(facts["metadata"])
    values = table["values"][row].values.to_numpy(zero_copy_only=False)
    return Item(key=table["key"][row].as_py(), values=values.reshape(table["shape"][row].as_py()), facts=facts)
