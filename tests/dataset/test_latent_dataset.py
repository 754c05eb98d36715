from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from music2latent import dataset
from music2latent.dataset import Example, LatentDataset, collate

Build = Callable[..., Path]


def equal(one: Any, other: Any) -> bool:
    """Two batches."""
    return all(
        torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]
        for name, value in one.items()
    )


def test_names_are_imported_when_they_are_used() -> None:
    assert {"Example", "LatentDataset", "LatentStream", "collate"} <= set(dataset.__all__) <= set(dir(dataset))
    for name in dataset.__all__:
        assert getattr(dataset, name)
    with pytest.raises(AttributeError, match="no attribute 'LatentDatasets'"):
        dataset.LatentDatasets  # noqa: B018
    code = "import sys, music2latent.dataset; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_it_is_a_sequence(stored: Path) -> None:
    data = LatentDataset(stored, length=30)
    assert len(data) == 7
    keys = [example.key for example in data]
    assert keys == [f"deep/{number}" for number in range(7)]
    assert [data[-number].key for number in range(1, 8)] == keys[::-1]
    for index in (7, -8):
        with pytest.raises(IndexError):
            data[index]
    with pytest.raises(TypeError):
        data["deep/0"]  # type: ignore[index]


def test_it_pickles(build: Build) -> None:
    data = LatentDataset(build(), length=30, seed=4)
    data.set_epoch(3)
    copy = pickle.loads(pickle.dumps(data))
    assert copy.epoch == 3
    assert torch.equal(copy[5].latents, data[5].latents)
    assert isinstance(pickle.loads(pickle.dumps(data[5])), Example)


@pytest.mark.parametrize(("start", "workers"), [("fork", 2), ("spawn", 1)])
def test_workers_give_the_same(build: Build, start: str, workers: int) -> None:
    data = LatentDataset([build(), build("parquet")], length=30, channels="random")
    loader = partial(DataLoader, data, batch_size=4, collate_fn=collate)
    with_workers = loader(num_workers=workers, persistent_workers=True, multiprocessing_context=start)
    seen = []
    for epoch in range(2):
        data.set_epoch(epoch)  # reaches the workers that live on
        here, there = list(loader()), list(with_workers)
        assert len(here) == len(there) == 4
        assert all(equal(one, other) for one, other in zip(here, there, strict=True))
        seen.append(torch.cat([batch["latents"] for batch in here]))
    assert not torch.equal(*seen)
