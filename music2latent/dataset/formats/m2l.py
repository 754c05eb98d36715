"""`.m2l` files in the tree that the audio had, with the other facts in `.json` files beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...latents import Latents
from ..storage import Storage
from .item import Item

SUFFIX = ".m2l"


class M2L:
    """Places are {"file"}, the `.m2l` file's."""

    suffix = SUFFIX
    lead_is_half = False
    stem_has_dots = True

    def open(self, folder: Path, shard: int) -> None:
        self._folder, self._files = folder, list[str]()

    def add(self, item: Item) -> dict[str, Any]:
        name = f"{item.key}{SUFFIX}"
        facts = json.dumps({"key": item.key} | item.facts).encode()
        for file, content in ((name, item.latents().to_bytes(name=name)), (f"{item.key}.json", facts)):
            (self._folder / file).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / file).write_bytes(content)
            self._files.append(file)
        return {"file": name}

    def close(self) -> list[str]:
        return self._files

    def read(self, storage: Storage, place: dict[str, Any]) -> Item:
        name = place["file"]
        latents = Latents.from_bytes(storage.read(name), name)
        try:
            facts = storage.read_json(f"{name.removesuffix(SUFFIX)}.json")
            return Item(key=facts.pop("key"), values=latents.numpy().astype(np.float16), facts=facts)
        except (FileNotFoundError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{name}: the .json file beside it is missing or damaged") from error

    def read_all(self, storage: Storage, places: list[dict[str, Any]]) -> Iterator[Item]:
        return (self.read(storage, place) for place in places)
