"""Who makes the shards: `local`, processes of this machine; `ray`, a cluster. What they make is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from ..shards import Job


class Engine(Protocol):
    """Makes the shards that an iterator gives, and tells how many seconds of audio are done.

    Raises:
        InputError: the output cannot be written, or a shard's process died twice; all other shards are made then.
    """

    def __call__(self, shards: Iterator[int], job: Job, progress: Callable[[float], None]) -> None: ...
