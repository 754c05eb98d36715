"""The pre-encoded layout of stable-audio-tools: `KEY.npy` `[C * D, L]` and `KEY.json` with a padding mask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import InputError
from ..storage import Storage
from .item import Item, from_npy, npy


class StableAudioTools:
    """Places are {"file"}, the `.npy` file's. Its loader wants both files of an item: `.json` goes first.

    `padding_mask` is 1 where there is audio, 0 where silence was added to make all items of a set equally long.
    """

    suffix = ".npy"
    lead_is_half = True
    stem_has_dots = False  # the loader replaces the first .npy that it finds in a path

    def open(self, folder: Path, shard: int) -> None:
        self._folder, self._files = folder, list[str]()

    def add(self, item: Item) -> dict[str, Any]:
        facts = item.facts
        length = item.values.shape[-1]
        padding = facts.get("padding", 0)
        described = {
            "key": item.key,
            "path": facts["source"],
            "relpath": item.key,
            "prompt": item.prompt,
            "padding_mask": [1] * (length - padding) + [0] * padding,
        } | {name: value for name, value in facts.items() if name != "padding"}
        for name, content in (
            (f"{item.key}.json", json.dumps(described).encode()),
            (f"{item.key}.npy", npy(item.values.reshape(-1, length))),
        ):
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(content)
            self._files.append(name)
        return {"file": f"{item.key}.npy"}

    def close(self) -> list[str]:
        return self._files

    def read(self, storage: Storage, place: dict[str, Any]) -> Item:
        name = place["file"]
        try:
            facts = storage.read_json(f"{name.removesuffix('.npy')}.json")
            values = from_npy(storage.read(name), name)
            for added in ("path", "relpath", "prompt"):
                del facts[added]
            facts["padding"] = facts["padding_mask"].count(0)
            del facts["padding_mask"]
            return Item(
                key=facts.pop("key"), values=values.reshape(facts["channels"], -1, values.shape[-1]), facts=facts
            )
        except (FileNotFoundError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{name}: it, or the .json file beside it, is missing or damaged") from error

    def read_all(self, storage: Storage, places: list[dict[str, Any]]) -> Iterator[Item]:
        return (self.read(storage, place) for place in places)
