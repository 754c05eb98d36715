"""Reading, computing and writing at the same time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
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
