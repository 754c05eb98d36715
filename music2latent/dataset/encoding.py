"""`encode`: collections of audio -> data sets of latents, of which nothing is lost."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from hashlib import sha256
from typing import Any

from ..codec import CODING_RATES, EncoderDecoder
from ..errors import InputError, whole_number
from ..extras import require
from .batches import Coding
from .description import describe, prepare
from .engines import Engine
from .engines.local import Local
from .formats import FORMATS
from .inputs import Input, find
from .plan import Plan
from .reading import content_hash
from .shards import Job, Settings
from .storage import Storage

logger = logging.getLogger(__name__)

LOCK = ".dataset/lock"
SHARD_SIZE = 16.0
"""MB, by default: a few hours of audio, which is what a kill costs at most."""


def encode(
    inputs: Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    codec: EncoderDecoder,
    *,
    format: str = "webdataset",
    features: bool = False,
    int8: bool = False,
    crop_seconds: float | None = None,
    coding_rate: int | None = None,
    shard_size: float = SHARD_SIZE,
    batch_size: int | None = None,
    unique: bool = False,
    part: tuple[int, int] | None = None,
    engine: Engine | None = None,
    retry_failures: bool = False,
    options: dict[str, Any] | None = None,
    output_options: dict[str, Any] | None = None,
    progress: Callable[[float], None] = lambda seconds: None,
) -> dict[str, Any]:
    """Encode everything that `inputs` name into a data set. The same call again goes on where it was stopped, makes
    what is new or has changed, and nothing else.

    Args:
        inputs: as in `inputs.find`: audio files, folders, globs, manifests, tars, tables, all of these also as URLs.
        output: a folder or an fsspec URL.
        codec: the model; its device is the engine's default.
        format: `webdataset`, `parquet`, `m2l` or `stable-audio-tools`.
        features: the encoder's features in place of latents.
        int8: latents in 8 bits in place of 16.
        crop_seconds: cut longer inputs into pieces of equal length, at most this long.
        coding_rate: rate in Hz to encode at: the model's own, or 48000.
        shard_size: MB in a shard, about.
        batch_size: chunks that run through the network together; by default 1 on a processor, 16 elsewhere.
        unique: encode inputs of equal content once; each is read one more time for it.
        part: (k, n): only the k-th of n disjoint parts of the inputs, into a data set of its own below `output`;
            `merge` joins them.
        engine: who computes; by default (`engines.local.Local`) one process per core, or one on the codec's GPU.
        retry_failures: try inputs again that failed before.
        options, output_options: for fsspec, of the inputs' and of the output's storage.
        progress: told the seconds of audio that are done, all in all.

    Returns:
        The data set's description, as `dataset.json` has it.

    Raises:
        InputError: arguments out of range, inputs or an output that cannot be used, another job at the same output.
            Inputs that cannot be encoded are no errors: they are in `failures.jsonl`, with their reasons.
    """
    require("dataset")
    settings = _settings(codec, format, features, int8, crop_seconds, coding_rate, shard_size, batch_size, unique)
    names = [os.fspath(name) for name in inputs]
    target = Storage(_part_of(os.fspath(output), part), output_options)
    job = Job(
        storage=target,
        checkpoint=codec.checkpoint,
        coding=Coding.of(codec, settings.coding_rate, lead_is_half=FORMATS[format].lead_is_half),
        settings=settings,
        compile=codec.gen.compiled is not codec.gen,
        options=options,
    )
    engine = engine or Local.on(str(codec.device))
    with target.claimed(LOCK):
        target.sweep()
        prepare(target, codec, settings)
        plan = Plan(
            target,
            key=_dotless if not FORMATS[format].stem_has_dots else lambda one: one.name,
            shard_seconds=settings.shard_size * 1e6 / _bytes_per_second(codec, settings),
            unique=partial(content_hash, options=options) if unique else None,
            retry_failures=retry_failures,
        )
        done, complete = 0.0, False

        def add(seconds: float) -> None:
            nonlocal done
            done += seconds
            progress(done)

        try:
            engine(plan.shards(_in_part(find(names, options), part)), job, add)
            odd = plan.counts["twice"] or plan.counts["gone"]
            logger.log(logging.WARNING if odd else logging.INFO, plan.summary())
            complete = True
        finally:
            plan.close()
            target.sweep()
            description = describe(target, names, complete=complete)
    return description


def _settings(
    codec: EncoderDecoder,
    format: str,
    features: bool,
    int8: bool,
    crop_seconds: float | None,
    coding_rate: int | None,
    shard_size: float,
    batch_size: int | None,
    unique: bool,
) -> Settings:
    if format not in FORMATS:
        raise InputError(f"format {format!r}; accepted: {', '.join(FORMATS)}")
    if features and (int8 or format == "m2l"):
        raise InputError(
            f"features are not written {'in 8 bits' if int8 else 'as .m2l files'}; take them as webdataset"
        )
    if int8 and format == "m2l":
        raise InputError(".m2l files hold float16; take --int8 with webdataset, parquet or stable-audio-tools")
    rate = codec.sample_rate if coding_rate is None else whole_number("coding_rate", coding_rate)
    if rate not in (codec.sample_rate, *CODING_RATES):
        raise InputError(f"coding_rate = {rate}; accepted: {', '.join(map(str, CODING_RATES))}")
    least = 4 * codec.frame_size / rate
    if crop_seconds is not None and not least <= crop_seconds < float("inf"):
        raise InputError(f"crop_seconds = {crop_seconds:g}; accepted: {least:.2f} and more")
    if not 0.001 <= shard_size <= 1e6:
        raise InputError(f"shard_size = {shard_size:g} MB; accepted: 0.001 to 1000000")
    if batch_size is None:
        batch_size = 1 if codec.device.type == "cpu" else 16
    return Settings(
        format=format,
        features=features,
        int8=int8,
        crop_seconds=crop_seconds,
        coding_rate=rate,
        shard_size=shard_size,
        batch_size=whole_number("batch_size", batch_size),
        unique=unique,
        dtype=str(codec.dtype).removeprefix("torch."),
    )


def _bytes_per_second(codec: EncoderDecoder, settings: Settings) -> float:
    """Of what is stored, for two channels."""
    dim = codec.feature_dim if settings.features else codec.latent_dim
    return 2 * dim * (1 if settings.int8 else 2) * settings.coding_rate / codec.frame_size


def _part_of(output: str, part: tuple[int, int] | None) -> str:
    if part is None:
        return output
    number, count = part
    if not 1 <= number <= count <= 99_999:
        raise InputError(f"part {number}/{count}; accepted: K/N with K from 1 to N")
    return f"{output.rstrip('/')}/part-{number:05d}-of-{count:05d}"


def _in_part(inputs: Iterator[Input], part: tuple[int, int] | None) -> Iterator[Input]:
    """Those whose name falls to this part: names that only suffixes tell apart stay together, as one may be renamed."""
    for one in inputs:
        if (
            part is None
            or int(sha256(_dotless(one).encode("utf-8", "replace")).hexdigest(), 16) % part[1] == part[0] - 1
        ):
            yield one


def _dotless(one: Input) -> str:
    return re.sub(r"\.", "_", one.name)
