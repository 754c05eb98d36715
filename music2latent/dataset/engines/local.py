"""Processes of this machine: one per GPU, or one per core; each has processes beside it that read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Event, Lock

import torch

from ...devices import resolve_device
from ...errors import InputError
from ..isolation import Died, Isolated
from ..shards import Job, shard_maker


def devices(device: str | None, workers: int | None) -> list[str]:
    """One device per worker: all GPUs unless one is named, or a processor as often as it has cores."""
    target = resolve_device(device)
    if target.type == "cpu":
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return ["cpu"] * (workers or available)
    names = [str(target)] if target.index is not None else [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    names = [str(target)] if target.type != "cuda" else names
    return [names[number % len(names)] for number in range(workers or len(names))]


def _worker(job: Job, device: str, readers: int) -> Callable[[int], Iterator[float]]:
    return shard_maker(job, job.mapper(device), job.readers(readers))


@dataclass
class Local:
    """The engine of this machine.

    Args:
        devices: of each worker.
        readers: processes that read for each worker.
    """

    devices: list[str]
    readers: int

    @classmethod
    def on(cls, device: str | None, workers: int | None = None, readers: int | None = None) -> Local:
        """So many workers on a device, and readers for each: by default 1 beside a processor, 8 beside a GPU."""
        found = devices(device, workers)
        return cls(found, readers or (1 if found[0] == "cpu" else 8))

    def __call__(self, shards: Iterator[int], job: Job, progress: Callable[[float], None]) -> None:
        """Make the shards; see `Engine`."""
        done: Queue[float] = Queue()
        stop = Event()
        lock, again, given_up = Lock(), deque[int](), list[str]()

        def following() -> tuple[int | None, bool]:
            with lock:
                return (again.popleft(), True) if again else (next(shards, None), False)

        def work(worker: Isolated) -> None:
            try:
                while not stop.is_set():
                    shard, tried = following()
                    if shard is None:
                        return
                    try:
                        for seconds in worker(shard):
                            done.put(seconds)
                            if stop.is_set():
                                return
                    except Died as error:
                        if tried:
                            given_up.append(f"shard {shard}: {error}, twice")
                        else:
                            again.append(shard)
            except BaseException:
                stop.set()
                raise
            finally:
                worker.close()

        workers = [Isolated(_worker, job, device, self.readers) for device in self.devices]
        with ThreadPoolExecutor(len(workers)) as pool:
            running = [pool.submit(work, worker) for worker in workers]
            try:
                while not all(one.done() for one in running) or not done.empty():
                    with suppress(Empty):
                        progress(done.get(timeout=0.1))
            finally:
                stop.set()
                for worker in workers:
                    worker.close()
        for one in running:
            one.result()
        if given_up:
            raise InputError(f"not made: {'; '.join(given_up)}; run the same command again")
