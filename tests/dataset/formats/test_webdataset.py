from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np

from ..inline import least, made, sounds


def test_as_any_tar_reader_sees_it(tmp_path: Path) -> None:
    made([sounds(tmp_path / "audio", [3000, 4000])], tmp_path / "set", shard_size=1)
    with tarfile.open(tmp_path / "set/latents-000000.tar") as tar:
        assert tar.getnames() == ["000.npy", "000.json", "001.npy", "001.json"]
        values = np.load(io.BytesIO(tar.extractfile("001.npy").read()))  # type: ignore[union-attr]
        facts = json.load(tar.extractfile("001.json"))  # type: ignore[arg-type]
        assert {member.mtime for member in tar.getmembers()} == {0}  # the same bytes whenever it was made
    assert (str(values.dtype), values.shape[:2]) == ("float16", (1, least().latent_dim))
    assert (facts["key"], facts["num_samples"], facts["model_id"]) == ("001", 4000, "least")
