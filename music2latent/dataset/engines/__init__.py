"""Who makes the shards: `local`, processes of this machine; `ray`, a cluster. What they make is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ...checkpoint import Checkpoint
from ...codec import EncoderDecoder
from ..shards import Settings
from ..storage import Storage


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every process of a run needs to know."""

    storage: Storage
    checkpoint: Checkpoint
    settings: Settings
    compile: bool
    options: dict[str, Any] | None
    """For fsspec, to read inputs."""

    def codec(self, device: str) -> EncoderDecoder:
        """The model on a device."""
        return EncoderDecoder(model=self.checkpoint, device=device, dtype=self.settings.dtype, compile=self.compile)


class Engine(Protocol):
    """Makes the shards that an iterator gives, and tells how many seconds of audio are done.

    Raises:
        InputError: the output cannot be written, or a shard's process died twice; all other shards are made then.
    """

    def __call__(self, shards: Iterator[int], job: Job, progress: Callable[[float], None]) -> None: ...
