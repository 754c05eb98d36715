"""Reading, computing and writing at the same time; one computation for several threads; forked processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Event, Lock, RLock
from typing import Any, Generic, TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(items: Iterable[Item], depth: int = 2) -> Generator[Item]:
    """The same items in the same order, up to `depth` of them made in a thread while the consumer is at earlier ones.

    What making them raises is raised here, in its place.
    """
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:

        def ask() -> Any:
            return thread.submit(next, iterator, end)

        asked = deque(ask() for _ in range(depth))
        while (item := asked.popleft().result()) is not end:
            asked.append(ask())
            yield item


@cache
def survive_forks() -> None:
    """Let forked processes compute, in one thread each: the pool of OpenMP's threads does not live on in them, and they
    would wait for it for ever. PyTorch's own data loaders do the same in their workers."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


class Together(Generic[Item, Result]):
    """A function of one item that computes the items of several threads in one go.

    Args:
        run: key and items -> as many results.
        size: items at most; a call waits for others of its key until there are so many, or its patience ends.
        patience: seconds.
    """

    def __init__(self, run: Callable[[Hashable, list[Item]], Iterable[Result]], size: int, patience: float) -> None:
        self._run, self._size, self._patience = run, size, patience
        self._waiting: dict[Hashable, tuple[list[tuple[Item, Future[Result]]], Event]] = {}
        self._lock, self._running = RLock(), Lock()

    def __call__(self, key: Hashable, item: Item) -> Result:
        future: Future[Result] = Future()
        with self._lock:
            calls, closed = self._waiting.setdefault(key, ([], Event()))
            calls.append((item, future))
            if len(calls) == self._size:
                self._close(key, closed)
        if calls[0][1] is future:  # the first runs it for all
            try:
                closed.wait(self._patience)
                with self._running:
                    self._close(key, closed)
                    for (_, one), result in zip(calls, self._run(key, [item for item, _ in calls]), strict=True):
                        one.set_result(result)
            except BaseException as error:
                self._close(key, closed)
                for _, one in calls:
                    if not one.done():
                        one.set_exception(error)
        return future.result()

    def _close(self, key: Hashable, closed: Event) -> None:
        """Let no further call join this batch; the next call starts another."""
        with self._lock:  # an RLock, because __call__ holds it here
            if not closed.is_set():
                closed.set()
                del self._waiting[key]
