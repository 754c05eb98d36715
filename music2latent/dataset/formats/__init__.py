"""How a shard's items are stored, a file per format. `FORMATS` has them by name.

A format writes a shard's items into files of a scratch folder, and says of each item where it is (`Item.place`, kept in
the shard's record), so that it can be read by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from ..storage import Storage
from .item import Item as Item
from .m2l import M2L
from .parquet import Parquet
from .stable_audio_tools import StableAudioTools
from .webdataset import WebDataset


class Format(Protocol):
    """A way to store items; made anew for every shard that is written or read."""

    suffix: str
    """Of the files that hold items' values."""
    lead_is_half: bool
    """Whether latents are centred on their frames, as the pretransform of stable-audio-tools has them, and not as
    `compress` gives them (`BatchCoding.lead`)."""
    stem_has_dots: bool
    """Whether names of items may have dots."""

    def open(self, folder: Path, shard: int) -> None:
        """Begin a shard in a scratch folder."""

    def add(self, item: Item) -> dict[str, Any]:
        """Store an item; returns its place."""

    def close(self) -> list[str]:
        """End the shard, once or again; returns its files' names, below the scratch folder as below the data set."""

    def read(self, storage: Storage, place: dict[str, Any]) -> Item:
        """An item by its place."""

    def read_all(self, storage: Storage, places: list[dict[str, Any]]) -> Iterator[Item]:
        """A shard's items in order, each file read once from start to end."""


FORMATS: dict[str, type[Format]] = {
    "webdataset": WebDataset,
    "parquet": Parquet,
    "m2l": M2L,
    "stable-audio-tools": StableAudioTools,
}
