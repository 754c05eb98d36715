from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from music2latent import InputError
from music2latent.dataset.batches import Batch, Mapper
from music2latent.dataset.storage import Storage

from .inline import least, made, problems, sounds, tree


def test_values_that_no_file_holds_are_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input whose latents are not finite does not take its shard along."""
    folder = sounds(tmp_path / "audio", [3000, 4000])

    def spoil(self: Mapper, batch: Batch) -> Batch:
        done = call(self, batch)
        return Batch(done.rows, np.full_like(done.values, np.nan)) if batch.rows[0].input else done

    call = Mapper.__call__
    monkeypatch.setattr(Mapper, "__call__", spoil)
    description = made([folder], tmp_path / "set", shard_size=1)
    assert (description["counts"]["items"], description["counts"]["failures"]) == (1, 1)
    assert "--dtype float32" in (tmp_path / "set/failures.jsonl").read_text()
    assert problems(tmp_path / "set") == []


def test_a_shard_that_cannot_be_put_leaves_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sounds(tmp_path / "audio", [3000])

    def refuse(*_: Any) -> None:
        raise InputError("no room")

    with monkeypatch.context() as patch, pytest.raises(InputError, match="no room"):
        patch.setattr(Storage, "put", refuse)
        made([folder], tmp_path / "set")
    assert set(tree(tmp_path / "set")) == {"dataset.json", "failures.jsonl", ".dataset/plan/000000.jsonl"}
    made([folder], tmp_path / "set")
    assert problems(tmp_path / "set") == []


def test_one_thread_computes(tmp_path: Path) -> None:
    """Or the number of cores would show in the last bits."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        Mapper(least(), features=False)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
