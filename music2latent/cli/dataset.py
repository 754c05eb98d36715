"""dataset encode, verify, info, merge: whole collections of audio."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from ..errors import InputError
from .options import CodecOptions, CodingRate, SpeedOptions
from .output import complain, say, show, tell
from .progress import progress_bar

Set = Annotated[str, typer.Argument(help="A data set: a folder, or a URL.")]
Output = Annotated[str, typer.Option("--output", "-o", help="A folder, or a URL (s3://, gs://, ...).")]

_LOG_SECONDS = 60.0
"""Between lines that say how far it is, where there is no terminal."""


def encode(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Audio, folders, globs, manifests (.csv, .jsonl, .parquet with a column path), WebDataset tars, "
            "tables with a column of audio; paths or URLs."
        ),
    ],
    output: Output,
    codec_options: CodecOptions,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the networks, for a GPU.")] = False,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Chunks at a time. Default: 1 on processors, 16 on a GPU.")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", "-f", help="webdataset, parquet, m2l, or stable-audio-tools.")
    ] = "webdataset",
    features: Annotated[bool, typer.Option("--features", help="The encoder's features in place of latents.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Latents in 8 bits, half the size.")] = False,
    crop_seconds: Annotated[float | None, typer.Option(help="Cut longer audio into pieces of equal length.")] = None,
    coding_rate: CodingRate = None,
    shard_size: Annotated[float, typer.Option(help="MB in a shard, about.")] = 16.0,
    unique: Annotated[bool, typer.Option("--unique", help="Encode audio of equal content once.")] = False,
    part: Annotated[str | None, typer.Option(help="K/N: only the K-th of N disjoint parts; merge joins them.")] = None,
    engine: Annotated[str, typer.Option(help="local, or ray: a cluster.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of the Ray cluster; auto: the one of this machine.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Models at a time. Default: one per GPU or core.")] = None,
    readers: Annotated[
        int | None, typer.Option(min=1, help="Processes that read for each. Default: 1 on processors, 8 on a GPU.")
    ] = None,
    retry_failures: Annotated[bool, typer.Option("--retry-failures", help="Try again what failed before.")] = False,
) -> None:
    """Audio -> a data set of latents. The same command again goes on where it stopped."""
    from ..dataset.encoding import encode as run
    from ..dataset.engines import Engine
    from ..dataset.engines.local import Local
    from ..dataset.engines.ray import Ray
    from ..dataset.storage import Storage
    from ..extras import require

    require("dataset")
    if engine not in ("local", "ray"):
        raise InputError(f"--engine {engine}: accepted are local, ray")
    if engine == "ray":
        require("ray")
    elif address is not None:
        raise InputError("--address is of a Ray cluster; add --engine ray")
    codec = codec_options.load(SpeedOptions(compile=compile))
    who: Engine = Ray(address, workers) if engine == "ray" else Local.on(codec_options.device, workers, readers)
    begun = said = time.monotonic()
    with progress_bar(None) as bar:

        def progress(seconds: float) -> None:
            nonlocal said
            now = time.monotonic()
            line = f"{seconds / 3600:.2f} h done, {seconds / max(now - begun, 1e-9):.0f} times real time"
            bar(line, seconds)
            if now - said > _LOG_SECONDS:
                tell(line)
                said = now

        description = run(
            inputs,
            output,
            codec,
            format=format,
            features=features,
            int8=int8,
            crop_seconds=crop_seconds,
            coding_rate=coding_rate,
            shard_size=shard_size,
            batch_size=batch_size,
            unique=unique,
            part=_part(part),
            engine=who,
            retry_failures=retry_failures,
            progress=progress,
        )
    say(_summary(Storage(output).url, description))
    if failed := description["counts"]["failures"]:
        complain(f"warning: {failed} of {description['counts']['inputs']} inputs failed; failures.jsonl says why")


def verify(
    dataset: Set,
    inputs: Annotated[list[str] | None, typer.Option(help="Also: is all of this in it, as it is now?")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Look at sizes in place of contents.")] = False,
) -> None:
    """Prove from its files alone that a data set is whole; exit code 1 if it is not."""
    from ..dataset.verification import verify as run
    from ..extras import require

    require("dataset")
    with progress_bar() as bar:
        problems = 0
        for problem in run(dataset, inputs=inputs or (), quick=quick, progress=lambda done: bar("", done)):
            complain(f"error: {problem}")
            problems += 1
    if problems:
        raise InputError(f"{dataset}: {problems} problems")
    say(f"{dataset}: whole")


def info(dataset: Set) -> None:
    """What a data set is."""
    from ..dataset.description import existing
    from ..dataset.storage import Storage
    from ..extras import require

    require("dataset")
    description = existing(Storage(dataset))
    show(_summary(dataset, description))
    for key, value in {**description["model"], **description["settings"]}.items():
        show(f"{key:14} {value}")


def merge(
    datasets: Annotated[list[str], typer.Argument(help="Data sets, or folders of parts.")],
    output: Output,
) -> None:
    """Data sets of disjoint inputs, such as the parts of one, become one."""
    from ..dataset.merging import merge as run
    from ..extras import require

    require("dataset")
    say(_summary(output, run(datasets, output)))


def _part(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match:
        raise InputError(f"--part {text}: expected K/N, as in 3/16")
    return int(match[1]), int(match[2])


def _summary(name: str, description: dict[str, object]) -> str:
    counts: dict[str, int] = description.get("counts", {})  # type: ignore[assignment]
    hours: float = description.get("hours", 0.0)  # type: ignore[assignment]
    parts = [f"{counts.get('shards', 0)} shards", f"{counts.get('items', 0)} items", f"{hours:.2f} h"]
    parts += [f"{counts.get('bytes', 0) / 1e6:.1f} MB"]
    parts += [f"{counts[key]} {key}" for key in ("failures", "copies") if counts.get(key)]
    parts += [] if description.get("complete") else ["not complete"]
    return f"{name}: {', '.join(parts)}"
