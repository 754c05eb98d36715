from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from music2latent import InputError
from music2latent.dataset import LatentDataset, LatentStream, collate, latent_stream
from music2latent.dataset.collection import Shard

from .test_latent_dataset import equal

Build = Callable[..., Path]


class Shards:
    """In place of a `Collection`: shards of so many items, which are their numbers."""

    def __init__(self, lengths: list[int]) -> None:
        ends = [sum(lengths[: number + 1]) for number in range(len(lengths))]
        self.shards = [
            Shard(storage=0, format=None, start=end - length, stop=end)
            for end, length in zip(ends, lengths, strict=True)
        ]
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.shards[-1].stop

    def read_all(self, shard: Shard, wanted: Iterable[int]) -> Iterator[tuple[int, int]]:
        for number in wanted:
            self.read.append(number)
            yield number, number


@pytest.fixture(scope="module")
def numbers(build: Build) -> Callable[..., Any]:
    """Make a stream of shards of these lengths, whose examples are their numbers and epochs."""
    made = LatentStream(build("m2l"))

    def numbers(lengths: list[int], shuffle: int, seed: int = 0, node: tuple[int, int] | None = None) -> Any:
        stream: Any = copy.copy(made)
        stream._collection, stream._shuffle, stream._seed, stream._node = Shards(lengths), shuffle, seed, node
        stream._epoch = torch.zeros((), dtype=torch.int64)
        stream._example = lambda index, item, epoch: index
        return stream

    return numbers


def in_worker(stream: Any, worker: int, workers: int) -> list[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent_stream, "get_worker_info", lambda: SimpleNamespace(id=worker, num_workers=workers))
        return list(stream)


LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=9)
SHUFFLE = st.integers(0, 12)


@given(LENGTHS, SHUFFLE, st.integers(0, 3), st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(deadline=None)
def test_every_item_comes_once(
    numbers: Any, lengths: list[int], shuffle: int, epoch: int, workers_of_nodes: list[int]
) -> None:
    found = []
    for rank, workers in enumerate(workers_of_nodes):
        for worker in range(workers):
            stream = numbers(lengths, shuffle, node=(rank, len(workers_of_nodes)))
            stream.set_epoch(epoch)
            found += in_worker(stream, worker, workers)
            read = stream._collection.read
            assert len(set(read)) == len(read)
    assert sorted(found) == list(range(sum(lengths)))


@given(LENGTHS, SHUFFLE, st.data())
@settings(deadline=None)
def test_stop_and_resume_is_a_straight_run(numbers: Any, lengths: list[int], shuffle: int, data: st.DataObject) -> None:
    straight = numbers(lengths, shuffle)
    straight.set_epoch(2)
    expected, state = list(straight), None
    found: list[int] = []
    while len(found) < len(expected):  # stopped again and again
        stream = numbers(lengths, shuffle)
        if state is not None:
            stream.load_state_dict(json.loads(json.dumps(state)))
            assert stream.state_dict() == state
        else:
            stream.set_epoch(2)
        before = len(found)
        found += islice(stream, data.draw(st.integers(1, 20)))
        assert len(stream._collection.read) <= len(found) - before + shuffle
        state = stream.state_dict()
    assert found == expected
    stream = numbers(lengths, shuffle)
    stream.load_state_dict(state)
    assert list(stream) == []  # this epoch has ended
    assert list(stream) == expected
    stream.load_state_dict(state)
    stream.set_epoch(3)  # an epoch that it was not stopped in
    straight.set_epoch(3)
    assert list(stream) == list(straight)


def test_orders(numbers: Any) -> None:
    lengths = [5] * 8
    assert list(numbers(lengths, 0)) == list(range(40))
    by_shard = list(numbers(lengths, 1))
    assert by_shard != list(range(40))
    assert [number % 5 for number in by_shard] == [0, 1, 2, 3, 4] * 8
    assert len({tuple(numbers(lengths, 10, seed)) for seed in range(5)}) == 5
    stream = numbers([1000], 100)
    moved = [abs(place - number) for place, number in enumerate(stream)]
    assert max(moved) > 100
    assert sum(moved) / 1000 > 40
    orders = set()
    for epoch in range(5):
        stream.set_epoch(epoch)
        orders.add(tuple(stream))
    assert len(orders) == 5


def test_memory_is_the_buffer(numbers: Any) -> None:
    stream = numbers([50] * 4, 10)
    for count, _ in enumerate(stream, 1):
        assert len(stream._collection.read) - count <= 10


def test_it_gives_what_the_data_set_gives(stored: Path) -> None:
    arguments: dict[str, Any] = {"length": 30, "channels": "random", "seed": 5}
    data, stream = LatentDataset(stored, **arguments), LatentStream(stored, shuffle=3, **arguments)
    for epoch in range(2):
        data.set_epoch(epoch)
        stream.set_epoch(epoch)
        examples = {example.key: example for example in stream}
        assert len(examples) == 7
        assert list(examples) != sorted(examples)
        for one in data:
            assert torch.equal(one.latents, examples[one.key].latents)
            assert one.seconds_start == examples[one.key].seconds_start


def test_in_workers(build: Build) -> None:
    stream = LatentStream(build(), length=30, shuffle=2)
    loader = DataLoader(stream, batch_size=2, collate_fn=collate, num_workers=2, persistent_workers=True)
    orders = []
    for epoch in range(2):
        stream.set_epoch(epoch)
        orders.append([key for batch in loader for key in batch["key"]])
        assert sorted(orders[-1]) == [f"deep/{number}" for number in range(7)]
    assert orders[0] != orders[1]


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")
@pytest.mark.parametrize("workers", [0, 2])
def test_torchdata_resumes_it(build: Build, workers: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader")
    make = partial(stateful.StatefulDataLoader, batch_size=2, collate_fn=collate, num_workers=workers)

    def stream() -> LatentStream:
        return LatentStream(build(), length=30, shuffle=3)

    straight = stream()
    straight.set_epoch(1)
    loader = make(straight)
    expected = list(loader)
    for stop in (0, 2) if workers else range(len(expected)):
        first = stream()
        first.set_epoch(1)
        loader = make(first)
        batches = list(islice(loader, stop))
        state = loader.state_dict()
        other = make(resumed := stream())
        other.load_state_dict(state)
        batches += other
        assert len(batches) == len(expected)
        assert all(equal(one, two) for one, two in zip(batches, expected, strict=True))
        assert resumed.epoch == 1


def test_nodes_of_torch_distributed(build: Build, numbers: Any) -> None:
    from torch.testing._internal.distributed.fake_pg import FakeStore

    torch.distributed.init_process_group("fake", rank=1, world_size=2, store=FakeStore())
    try:
        stream = numbers([1] * 6, 0)
        assert list(stream) == [1, 3, 5]
        assert list(numbers([1] * 6, 0, node=(0, 1))) == list(range(6))
        spawned = pickle.dumps(LatentStream(build()))
    finally:
        torch.distributed.destroy_process_group()
    assert pickle.loads(spawned)._split()[:2] == [1, 2]
    assert list(stream) == list(range(6))


def test_fewer_shards_than_nodes_are_warned_of(numbers: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert list(numbers([4], 0, node=(1, 2))) == []
    assert "1 shards for 2 nodes: some get nothing; make smaller shards" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shuffle": -1}, "shuffle = -1; accepted"),
        ({"rank": 0}, "rank = 0 and world_size = None; expected both of them, or neither"),
        ({"rank": 2, "world_size": 2}, "rank = 2; accepted: whole numbers from 0 to 1"),
    ],
)
def test_arguments_out_of_range_are_refused(build: Build, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        LatentStream(build(), **arguments)


def test_the_state_of_another_stream_is_refused(numbers: Any) -> None:
    stream = numbers([4, 4], 3)
    next(iter(stream))
    state = stream.state_dict()
    with pytest.raises(InputError, match=r"with shuffle 3 \(now 4\), shards 2 \(now 1\); pass the same"):
        numbers([8], 4).load_state_dict(state)
    for wrong in ({}, None, {"epoch": 0}, state | {"of": 3}):
        with pytest.raises(InputError, match="not the state of a LatentStream"):
            numbers([4, 4], 3).load_state_dict(wrong)
    other = numbers([4, 4], 3)
    other.load_state_dict(state)
    with pytest.raises(InputError, match="by worker 0 of 1 on node 0 of 1, resumed by worker 1 of 2 on node 0 of 1"):
        in_worker(other, 1, 2)
