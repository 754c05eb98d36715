"""A cluster with Ray Data: tasks on processors read, actors with a GPU or a share of a processor encode, and this
process writes shards as they become whole. Tasks and actors that are lost with their node are run again by Ray."""

from __future__ import annotations

import json
import logging
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import numpy as np

from ...errors import InputError
from ...extras import require
from ..batches import Batch, Coding, batched
from ..inputs import Input
from ..reading import Readers
from ..shards import Job, ShardWriter

_MOST_SHARDS = 4096
"""That Ray is given at a time: their plans are in this process' memory."""


@dataclass
class Ray:
    """The engine of a cluster, which has this package and reaches the inputs from every node; the output is written by
    this process alone.

    Args:
        address: of the cluster; `auto` for the one that this machine belongs to, None to start one on this machine.
        workers: actors that encode, at most; by default one per GPU, or per processor where there is no GPU.
    """

    address: str | None = None
    workers: int | None = None

    def __call__(self, shards: Iterator[int], job: Job, progress: Callable[[float], None]) -> None:
        """Make the shards; see `Engine`."""
        ray = _connected(self.address)
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        most = self.workers or gpus or max(1, int(resources.get("CPU", 1)))
        shared, count = ray.put(job), 2 * most
        while wave := list(islice(shards, count)):
            writers = {shard: ShardWriter(job, shard) for shard in wave}
            try:
                _make(writers, _events(ray, writers, job, shared, gpus, most), progress)
            finally:
                for writer in writers.values():
                    writer.close()
            count = min(2 * count, _MOST_SHARDS)


def _connected(address: str | None) -> Any:
    require("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # beside our own progress; each data set sets its level anew
    import ray

    if not ray.is_initialized():
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise InputError(f"no Ray cluster at {address}: {' '.join(str(error).split())[:200]}") from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    return ray


def _events(ray: Any, writers: dict[int, ShardWriter], job: Job, shared: Any, gpus: int, most: int) -> Any:
    """The shards' batches, encoded, and outcomes, in any order."""
    rows = [
        {"shard": shard, "inputs": json.dumps([one.to_json() for one in writer.wanted])}
        for shard, writer in writers.items()
    ]
    # Less than a processor each, where actors and tasks share them: actors that hold all would leave none to read.
    share = {"num_gpus": 1} if gpus else {"num_cpus": 0.75}
    small = (job.coding, job.settings.coding_rate, job.settings.batch_size, json.dumps(job.options))
    return (
        ray.data.from_items(rows, override_num_blocks=len(rows))
        .flat_map(_read, fn_args=small, num_cpus=1 if gpus else 0.25)
        .map_batches(
            _Encode,
            fn_constructor_args=(shared, bool(gpus)),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=most),
            **share,
        )
        .iter_rows()
    )


def _make(writers: dict[int, ShardWriter], events: Any, progress: Callable[[float], None]) -> None:
    """Writers that are whole finish and leave; whoever is left at the end lacks something."""

    def finish(shard: int) -> None:
        if writers[shard].is_whole:
            writers.pop(shard).finish()

    for shard in list(writers):
        finish(shard)
    for row in events:
        if (shard := int(row["shard"])) in writers:
            progress(writers[shard].push(pickle.loads(row["event"])))
            finish(shard)
    if writers:
        raise InputError(f"not made: shards {', '.join(map(str, writers))}; run the same command again")


@cache
def _readers(rate: int, options: str) -> Readers:
    """Kept by a process of Ray's, which reads many shards."""
    return Readers(1, rate, json.loads(options))


def _read(row: dict[str, Any], coding: Coding, rate: int, batch_size: int, options: str) -> Iterator[dict[str, Any]]:
    """A shard's inputs -> its batches and outcomes."""
    inputs = [Input.from_json(line) for line in json.loads(row["inputs"])]
    with closing(_readers(rate, options).read(inputs)) as parts:
        for event in batched(parts, coding, batch_size):
            yield {"shard": row["shard"], "event": pickle.dumps(event)}


class _Encode:
    def __init__(self, shared: Any, gpu: bool) -> None:
        import ray

        job = ray.get(shared) if isinstance(shared, ray.ObjectRef) else shared
        self._mapper = job.mapper("cuda" if gpu else "cpu")

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        events = [pickle.loads(event) for event in rows["event"]]
        done = [pickle.dumps(self._mapper(event) if isinstance(event, Batch) else event) for event in events]
        return {"shard": rows["shard"], "event": np.array(done, dtype=object)}
