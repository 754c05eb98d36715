from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from music2latent import InputError
from music2latent.dataset.description import records
from music2latent.dataset.formats import FORMATS
from music2latent.dataset.formats.item import FACTS, Item, from_npy, npy
from music2latent.dataset.storage import Storage

from ..inline import least, made, sounds

FACTS_OF_ONE: dict[str, Any] = dict.fromkeys(FACTS) | {
    **{"source": "a", "num_samples": 100, "sample_rate": 44100, "coding_rate": 44100, "channels": 1, "scale": None},
    **{"model_id": "m", "fingerprint": "f", "frame_size": 8, "edge": 24, "metadata": {"title": "a title", "text": ""}},
}


def test_an_item() -> None:
    values = np.arange(32, dtype=np.int8).reshape(1, 2, 16)
    item = Item(key="a", values=values, facts=FACTS_OF_ONE | {"scale": 0.5})
    assert np.array_equal(item.floats, values / 2)
    assert item.latents().num_samples == 100
    assert item.prompt == "a title"
    assert Item(key="a", values=values, facts=FACTS_OF_ONE | {"metadata": {}}).prompt == ""
    assert np.array_equal(from_npy(npy(values), "a"), values)
    for broken in (b"", npy(values)[:-1], b"PK" * 100):
        with pytest.raises(InputError, match=r"a: truncated, or not an \.npy file"):
            from_npy(broken, "a")


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_written_is_read_by_place_and_in_order(tmp_path: Path, format: str) -> None:
    """Metadata of any kind comes back, values to the bit, by one or all at once."""
    folder = sounds(tmp_path / "audio", [3000, 4000, 5000], channels=2)
    (folder / "list.jsonl").write_text(
        "".join(
            f'{{"path": "{number:03d}.wav", "key": "a/{number} é", "text": "ä{number}", "tags": [1, {{"x": null}}]}}\n'
            for number in range(3)
        )
    )
    made([folder / "list.jsonl"], tmp_path / "set", format=format, shard_size=1)
    storage = Storage(tmp_path / "set")
    (record,) = records(storage)
    items = list(FORMATS[format]().read_all(storage, record["items"]))
    assert [item.key for item in items] == [place["key"] for place in record["items"]] == [f"a/{n} é" for n in range(3)]
    for number, (item, place) in enumerate(zip(items, record["items"], strict=True)):
        again = FORMATS[format]().read(storage, place)
        assert (again.key, again.facts) == (item.key, item.facts)
        assert np.array_equal(again.values, item.values)
        assert item.facts["metadata"] == {"text": f"ä{number}", "tags": [1, {"x": None}]}
        assert item.prompt == f"ä{number}"
        assert set(FACTS) <= set(item.facts)
        assert item.values.shape == (2, least().latent_dim, place["length"])
        assert item.facts["fingerprint"] == least().fingerprint


@pytest.mark.parametrize(
    ("format", "pattern", "message"),
    [
        ("webdataset", "*.tar", r"latents-000000\.tar: (truncated|damaged)"),
        ("parquet", "*.parquet", r"latents-000000\.parquet: truncated"),
        ("m2l", "*.m2l", r"000\.m2l: truncated"),
        ("stable-audio-tools", "*.npy", r"000\.npy: (truncated|it, or)"),
    ],
)
def test_half_a_file_is_refused_by_its_name(tmp_path: Path, format: str, pattern: str, message: str) -> None:
    folder = sounds(tmp_path / "audio", [3000])
    made([folder], tmp_path / "set", format=format)
    storage = Storage(tmp_path / "set")
    (record,) = records(storage)
    (file,) = (tmp_path / "set").glob(pattern)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 3])
    with pytest.raises(InputError, match=message):
        FORMATS[format]().read(storage, record["items"][0])
    with pytest.raises(InputError, match=message):
        list(FORMATS[format]().read_all(storage, record["items"]))
