"""One shard: from what its inputs became to files that are whole, and the record that says so."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checkpoint import Checkpoint
from ..codec import EncoderDecoder
from ..errors import InputError
from ..latents import Latents
from ..threads import ahead
from .batches import Assembly, Batch, Coding, Mapper, Outcome, batched
from .formats import FORMATS, Item
from .inputs import Input
from .plan import read_plan, record_name
from .reading import Facts, Failure, Readers
from .statistics import Statistics
from .storage import Storage

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the content of a data set depends on, besides inputs and model."""

    format: str
    """One of `formats.FORMATS`."""
    features: bool
    """The encoder's features in place of latents."""
    int8: bool
    """Latents as whole numbers of 8 bits and one factor, in place of float16."""
    crop_seconds: float | None
    """Longer inputs become pieces of equal length, at most this long."""
    coding_rate: int
    """Rate in Hz that audio is encoded at."""
    shard_size: float
    """Size of a shard in MB, about."""
    batch_size: int
    """Chunks that run through the network together."""
    unique: bool
    """Whether inputs of equal content are encoded once."""
    dtype: str
    """What the networks compute in."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What every process of a run needs to know."""

    storage: Storage
    checkpoint: Checkpoint
    coding: Coding
    settings: Settings
    compile: bool
    options: dict[str, Any] | None
    """For fsspec, to read inputs."""

    def mapper(self, device: str) -> Mapper:
        """The model on a device."""
        codec = EncoderDecoder(model=self.checkpoint, device=device, dtype=self.settings.dtype, compile=self.compile)
        return Mapper(codec, features=self.settings.features)

    def readers(self, count: int) -> Readers:
        """Processes that read inputs."""
        return Readers(count, self.settings.coding_rate, self.options)


class ShardWriter:
    """Events of a shard, in any order, become its files in a scratch folder; `finish` puts them where they belong."""

    def __init__(self, job: Job, shard: int) -> None:
        self._storage, self._coding, self._settings, self.shard = job.storage, job.coding, job.settings, shard
        self.inputs, self._digest = read_plan(job.storage, shard)
        self.wanted = [one for one in self.inputs if not one.same_as]
        """Inputs that are to be read: all but copies of others."""
        self._assembly, self._whole = Assembly(job.coding.plan), 0
        self._stack = ExitStack()
        self._folder = self._stack.enter_context(job.storage.scratch())
        self._format = FORMATS[job.settings.format]()
        self._format.open(self._folder, shard)
        self._items: list[dict[str, Any]] = []
        self._failures: list[dict[str, str]] = []
        self._statistics, self._seconds = Statistics(), 0.0

    @property
    def is_whole(self) -> bool:
        """Whether nothing is awaited any more."""
        return self._whole == len(self.wanted)

    def push(self, event: Batch | Outcome) -> float:
        """Take an event in; returns the seconds of audio that are stored for good since the last."""
        before = self._seconds
        with self._writing():
            for number, found, values in self._assembly.push(event):
                self._whole += 1
                one = self.wanted[number]
                reason = found.reason if isinstance(found, Failure) else None
                if isinstance(found, Facts) and values is not None:
                    try:
                        self._store(one, found, values)
                    except InputError as error:
                        reason = str(error)
                if reason is not None:
                    self._failures.append({"source": one.source, "reason": reason})
        return self._seconds - before

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A disk that is full is no input's fault."""
        try:
            yield
        except OSError as error:
            raise InputError(f"{self._storage.url}: cannot be written ({error.strerror or error})") from error

    def _store(self, one: Input, found: Facts, values: Tensor) -> None:
        stored = self._rounded(values)
        facts = {
            "source": one.source,
            "hash": found.hash,
            "size": found.size,
            "etag": one.etag,
            "sample_rate": found.sample_rate,
            "channels": found.channels,
            "coding_rate": self._settings.coding_rate,
            "frame_size": self._coding.config.frame_size,
            "edge": self._coding.config.edge,
            "lead": self._coding.lead,
            "model_id": self._coding.model_id,
            "fingerprint": self._coding.fingerprint,
            "scale": self._scale,
            "seconds_total": found.num_samples / found.sample_rate,
            "metadata": one.metadata,
        }
        for count, (piece, own) in enumerate(self._pieces(stored, found)):
            # Of every input, or a piece of one could have the name of another.
            key = one.name if self._settings.crop_seconds is None else f"{one.name}_{count:04d}"
            place = self._format.add(Item(key=key, values=self._quantised(piece), facts=facts | own))
            self._items.append({"key": key, "input": one.source, "length": piece.shape[-1]} | own | place)
        self._statistics += Statistics.of(stored)
        self._seconds += found.num_samples / found.sample_rate

    def _rounded(self, values: Tensor) -> np.ndarray:
        if not self._settings.features:
            values = values / self._coding.latent_scale
        with np.errstate(over="ignore"):
            stored = values.numpy().astype(np.float16)
        if not np.isfinite(stored).all():
            raise InputError("encoding gave values that float16 cannot hold; compute with --dtype float32")
        return stored

    @property
    def _scale(self) -> float | None:
        """Times `latent_scale`, latents lie in (-1, 1)."""
        return 1 / (127 * self._coding.latent_scale) if self._settings.int8 else None

    def _quantised(self, values: np.ndarray) -> np.ndarray:
        return values if self._scale is None else np.rint(values.astype(np.float32) / self._scale).astype(np.int8)

    def _pieces(self, values: np.ndarray, found: Facts) -> Iterator[tuple[np.ndarray, dict[str, Any]]]:
        """Pieces of equal length, and their facts; for stable-audio-tools equal to the latent, the last filled up."""
        settings, total = self._settings, found.num_samples / found.sample_rate
        if settings.crop_seconds is None:
            yield values, {"seconds_start": 0.0, "duration": total, "num_samples": found.num_samples}
        elif FORMATS[settings.format].lead_is_half:
            frame = self._coding.config.frame_size / settings.coding_rate
            length = max(1, round(settings.crop_seconds / frame))
            for start in range(0, values.shape[-1], length):
                piece = values[..., start : start + length]
                padding = length - piece.shape[-1]
                seconds = min(length * frame, total - start * frame)
                own = {"seconds_start": start * frame, "duration": seconds, "padding": padding}
                own["num_samples"] = max(1, round(seconds * found.sample_rate))
                yield np.pad(piece, ((0, 0), (0, 0), (0, padding))), own
        else:
            whole = Latents(
                values=torch.from_numpy(values.astype(np.float32)),
                sample_rate=found.sample_rate,
                num_samples=found.num_samples,
                coding_rate=settings.coding_rate,
                model_id=self._coding.model_id,
                fingerprint=self._coding.fingerprint,
                frame_size=self._coding.config.frame_size,
                edge=self._coding.config.edge,
            )
            count = math.ceil(total / settings.crop_seconds)
            start = 0
            for number in range(count):
                part = whole[number * total / count : (number + 1) * total / count] if count > 1 else whole
                own = {"seconds_start": start / found.sample_rate, "duration": part.duration}
                yield part.numpy().astype(np.float16), own | {"num_samples": part.num_samples}
                start += part.num_samples

    def finish(self) -> dict[str, Any]:
        """Put the files in their places, then the record; returns the record."""
        with self._writing():
            names = self._format.close()
            files = {name: _file_facts(self._folder / name) for name in names}
        for name in names:
            self._storage.put(self._folder / name, name)
        record = {
            "version": FORMAT_VERSION,
            "shard": self.shard,
            "plan": self._digest,
            "files": files,
            "items": self._items,
            "failures": self._failures,
            "copies": [{"source": one.source, "same_as": one.same_as} for one in self.inputs if one.same_as],
            "inputs": len(self.inputs),
            "seconds": self._seconds,
            "statistics": self._statistics.to_dict(),
        }
        self._storage.write_json(record_name(self.shard), record)
        self.close()
        return record

    def close(self) -> None:
        """Leave nothing half-written behind."""
        with suppress(OSError):
            self._format.close()
        self._stack.close()


def _file_facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": file.tell()}


def shard_maker(job: Job, mapper: Mapper, readers: Readers) -> Callable[[int], Iterator[float]]:
    """A function that makes a shard, and yields seconds of audio as they are done."""

    def make(shard: int) -> Iterator[float]:
        writer = ShardWriter(job, shard)
        with closing(writer), closing(readers.read(writer.wanted)) as parts:
            for event in ahead(batched(parts, job.coding, job.settings.batch_size)):
                yield writer.push(mapper(event) if isinstance(event, Batch) else event)
            writer.finish()

    return make
