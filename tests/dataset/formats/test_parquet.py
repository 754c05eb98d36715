from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ..inline import least, made, sounds, values_of


def test_as_any_parquet_reader_sees_it(tmp_path: Path) -> None:
    made([sounds(tmp_path / "audio", [3000 + n for n in range(70)])], tmp_path / "set", format="parquet", shard_size=10)
    table = pq.read_table(tmp_path / "set/latents-000000.parquet")
    assert table.num_rows == 70  # more than one group of rows
    row = table.slice(66, 1).to_pylist()[0]
    assert (row["key"], row["num_samples"], row["shape"][:2]) == ("066", 3066, [1, least().latent_dim])
    values = np.array(row["values"], np.float16).reshape(row["shape"])
    assert np.array_equal(values, values_of(tmp_path / "set")[f"{tmp_path}/audio/066.wav 0.000"])
