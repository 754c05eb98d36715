"""WebDataset: `latents-000000.tar` with `KEY.npy` and `KEY.json` for every item."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..storage import Storage
from .item import Item, from_npy, npy


class WebDataset:
    """Places are {"file", "npy": [start, size], "json": [start, size]}, of the members' contents in the tar."""

    suffix = ".tar"
    lead_is_half = False
    stem_has_dots = False  # WebDataset ends a key at the first

    def open(self, folder: Path, shard: int) -> None:
        self._name = f"latents-{shard:06d}.tar"
        self._tar = tarfile.open(folder / self._name, "w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, item: Item) -> dict[str, Any]:
        members = {"npy": npy(item.values), "json": json.dumps({"key": item.key} | item.facts).encode()}
        place: dict[str, Any] = {"file": self._name}
        for suffix, content in members.items():
            member = tarfile.TarInfo(f"{item.key}.{suffix}")
            member.size = len(content)
            self._tar.addfile(member, io.BytesIO(content))
            end = self._tar.offset
            place[suffix] = [end - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, len(content)]
        return place

    def close(self) -> list[str]:
        self._tar.close()
        return [self._name]

    def read(self, storage: Storage, place: dict[str, Any]) -> Item:
        (start, size), (begin, length) = place["npy"], place["json"]
        content = storage.read_range(place["file"], start, begin + length)
        return _item(content[:size], content[begin - start :], place["file"])

    def read_all(self, storage: Storage, places: list[dict[str, Any]]) -> Iterator[Item]:
        if not places:
            return
        name = places[0]["file"]
        try:
            with storage.open(name) as file, tarfile.open(fileobj=file, mode="r|") as tar:
                for member in tar:
                    content = tar.extractfile(member).read()  # type: ignore[union-attr]
                    if member.name.endswith(".npy"):
                        values = content
                    else:
                        yield _item(values, content, name)
                    tar.members = []  # type: ignore[attr-defined]  # a long tar is not held
        except tarfile.TarError as error:
            raise InputError(f"{name}: truncated, or not a tar ({error})") from error


def _item(values: bytes, facts: bytes, name: str) -> Item:
    try:
        found = json.loads(facts)
        return Item(key=found.pop("key"), values=from_npy(values, name), facts=found)
    except (ValueError, KeyError) as error:
        raise InputError(f"{name}: damaged ({error})") from error
