"""`LatentStream`: the items of a data set one after the other, shard by shard, on any number of nodes and workers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Unpack

import numpy as np
import torch.distributed
from torch.utils.data import IterableDataset, get_worker_info

from ..errors import InputError, whole_number
from .collection import Paths, Shard
from .examples import Arguments, Example, Examples

logger = logging.getLogger(__name__)

SHUFFLE = 256


class LatentStream(Examples, IterableDataset[Example]):
    """A streaming data set: shards are read from start to end. Over nodes and workers, every item comes exactly once
    per epoch; as each gets whole shards, some get more items than others.

    Args:
        path: as for `Examples`, like the other arguments.
        shuffle: examples that wait for their turn in a buffer of each worker; with 1 only shards are shuffled, with 0
            everything comes in the order that it is stored in.
        rank, world_size: of this node; by default those of `torch.distributed` if it is initialised, else 0 and 1.

    Raises:
        InputError: as `Examples`.
    """

    def __init__(
        self,
        path: Paths,
        *,
        shuffle: int = SHUFFLE,
        rank: int | None = None,
        world_size: int | None = None,
        **arguments: Unpack[Arguments],
    ) -> None:
        super().__init__(path, **arguments)
        self._shuffle = whole_number("shuffle", shuffle, low=0)
        if (rank is None) != (world_size is None):
            raise InputError(f"rank = {rank} and world_size = {world_size}; expected both of them, or neither")
        self._node: tuple[int, int] | None = None
        if rank is not None and world_size is not None:
            self._node = whole_number("rank", rank, 0, world_size - 1), whole_number("world_size", world_size)
        self._position = self._resume = 0

    def __getstate__(self) -> dict[str, Any]:
        # A worker that is spawned does not know of torch.distributed.
        return self.__dict__ | {"_node": self._node or _distributed()}

    def set_epoch(self, epoch: int) -> None:
        """As for `LatentDataset`; another epoch than before begins with its first item."""
        if epoch != self.epoch:
            self._position = self._resume = 0
        super().set_epoch(epoch)

    def __iter__(self) -> Iterator[Example]:
        self._position, self._resume = self._resume, 0
        if self._position and (saved := self._resumed["split"]) != self._split():
            raise InputError(f"saved by {_named(saved)}, resumed by {_named(self._split())}; take as many of both")
        return self._examples(self.epoch, self._position)

    def _examples(self, epoch: int, start: int) -> Iterator[Example]:
        rng = np.random.default_rng((self._seed, epoch))
        shards = self._own_shards(rng)
        order = _shuffled((index for shard in shards for index in range(shard.start, shard.stop)), self._shuffle, rng)
        given = np.zeros(len(self._collection), bool)
        for index in islice(order, start):  # the same order again: nothing is read for what was given before
            given[index] = True
        items = (
            found
            for shard in shards
            for found in self._collection.read_all(
                shard, [index for index in range(shard.start, shard.stop) if not given[index]]
            )
        )
        held: dict[int, Example] = {}  # no more than the buffer of the shuffling
        for index in order:
            while index not in held:
                number, item = next(items)
                held[number] = self._example(number, item, epoch)
            self._position += 1
            yield held.pop(index)

    def _own_shards(self, rng: np.random.Generator) -> list[Shard]:
        shards = self._collection.shards
        rank, world_size, worker, workers = self._split()
        if world_size > len(shards):
            logger.warning("%d shards for %d nodes: some get nothing; make smaller shards", len(shards), world_size)
        order = rng.permutation(len(shards)) if self._shuffle else np.arange(len(shards))
        return [shards[number] for number in order[rank::world_size][worker::workers]]

    def _split(self) -> list[int]:
        """Number of this node, of all; of this worker, of all on the node."""
        info = get_worker_info()
        rank, world_size = self._node or _distributed() or (0, 1)
        return [rank, world_size, info.id if info else 0, info.num_workers if info else 1]

    # ------------------------------------------------------------------------------------------------ exact resume

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, as JSON holds it. In workers of a DataLoader each has its own: torchdata's
        `StatefulDataLoader` asks them all."""
        return {"epoch": self.epoch, "position": self._position, "split": self._split(), "of": self._kind()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there when it is iterated next, with what would have come.

        Raises:
            InputError: the state of a stream with other arguments.
        """
        try:
            epoch, position, of = state["epoch"], state["position"], state["of"]
            other = [f"{name} {of[name]} (now {value})" for name, value in self._kind().items() if of[name] != value]
        except (KeyError, TypeError) as error:
            raise InputError(f"{state!r:.80}: not the state of a LatentStream") from error
        if other:
            raise InputError(f"the state of a stream with {', '.join(other)}; pass the same arguments")
        self.set_epoch(epoch)
        self._position = self._resume = whole_number("position", position, low=0)
        self._resumed = state

    def _kind(self) -> dict[str, int]:
        """What its order depends on."""
        collection = self._collection
        return {
            "seed": self._seed,
            "shuffle": self._shuffle,
            "items": len(collection),
            "shards": len(collection.shards),
        }


def _distributed() -> tuple[int, int] | None:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return None


def _named(split: list[int]) -> str:
    rank, world_size, worker, workers = split
    return f"worker {worker} of {workers} on node {rank} of {world_size}"


def _shuffled(numbers: Iterable[int], size: int, rng: np.random.Generator) -> Iterator[int]:
    """Numbers by way of a buffer, from which each new one drives out one at random; then the rest at random."""
    if size < 2:
        yield from numbers
        return
    buffer: list[int] = []
    for number in numbers:
        if len(buffer) < size:
            buffer.append(number)
        else:
            place = int(rng.integers(size))
            yield buffer[place]
            buffer[place] = number
    yield from rng.permutation(buffer).tolist()
