from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..inline import least, made, sounds


def test_the_layout_field_by_field(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [100 * least().frame_size - 3], channels=2)
    made([folder], tmp_path / "set", format="stable-audio-tools", crop_seconds=40 * least().frame_size / 44100)
    files = sorted(path.name for path in (tmp_path / "set").glob("000*"))
    assert files == [f"000_000{n}.{suffix}" for n in range(3) for suffix in ("json", "npy")]
    values = [np.load(tmp_path / f"set/000_000{n}.npy") for n in range(3)]
    assert {one.shape for one in values} == {(2 * least().latent_dim, 40)}
    facts = [json.loads((tmp_path / f"set/000_000{n}.json").read_text()) for n in range(3)]
    assert [sum(fact["padding_mask"]) for fact in facts] == [40, 40, 20]
    assert facts[2]["padding_mask"] == [1] * 20 + [0] * 20
    assert not values[2][:, 20:].any()
    assert [round(fact["seconds_start"] * 44100 / least().frame_size) for fact in facts] == [0, 40, 80]
    assert {"path", "relpath", "prompt", "seconds_start", "seconds_total", "padding_mask"} <= set(facts[0])
