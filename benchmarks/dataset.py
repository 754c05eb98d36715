"""How fast collections are encoded, what of that is not the model, what a manifest's length costs, how verify scales.

    python benchmarks/dataset.py [--seconds 1200] [--rows 100 10000 1000000] [--ray]

Files are made of the clip in examples/, as flac at 44.1 kHz. Start-up is the time until the first batch is encoded;
speed is that of the rest, to the end. "Outside the model" is the share of the rest, times workers, in which no encoder
had a processor: the workers note what each batch took of theirs. Rows of manifests are encoded with a stub in place of
files and model. Writes benchmarks/dataset.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer
from machine import processor

from music2latent import EncoderDecoder
from music2latent.dataset import encode, verify
from music2latent.dataset.batches import Batch, Outcome, Row
from music2latent.dataset.engines.local import Local
from music2latent.dataset.engines.ray import Ray
from music2latent.dataset.reading import Facts
from music2latent.dataset.shards import Job, ShardWriter

ROOT = Path(__file__).parent.parent


def make_files(folder: Path, seconds: float, each: float) -> Path:
    """Files of the clip, each another by its gain."""
    folder.mkdir(parents=True)
    clip, rate = soundfile.read(ROOT / "examples" / "clip.ogg", dtype="float32", always_2d=True)
    mono = np.tile(clip[:, 0], -(-int(each * rate) // len(clip)))[: int(each * rate)]
    for number in range(max(4, round(seconds / each))):
        soundfile.write(folder / f"{number:05d}.flac", mono * (0.9 - number * 1e-5), rate)
    return folder


@dataclass(frozen=True, kw_only=True)
class Watched(Job):
    """A job whose workers note when each batch was encoded, and the processor's time that it took."""

    notes: Path

    def mapper(self, device: str) -> Any:
        """The model on a device."""
        encode, notes = super().mapper(device), self.notes / f"{os.getpid()}.txt"

        def noting(batch: Batch) -> Batch:
            begun = time.thread_time()
            encoded = encode(batch)
            with notes.open("a") as file:
                file.write(f"{time.monotonic()} {time.thread_time() - begun}\n")
            return encoded

        return noting


@dataclass(frozen=True)
class Timed:
    """Of one run: seconds until the first batch was encoded, audio per second and the share outside the model after."""

    start: float
    speed: float
    outside: float


def timed(folder: Path, engine: Any, workers: int, audio_seconds: float) -> Timed:
    """Encode a folder."""
    with tempfile.TemporaryDirectory() as work:
        notes = Path(work) / "notes"
        notes.mkdir()

        def watched(shards: Iterator[int], job: Job, progress: Callable[[float], None]) -> None:
            facts = {field.name: getattr(job, field.name) for field in fields(job)}
            engine(shards, Watched(**facts, notes=notes), progress)

        begun = time.monotonic()
        codec = EncoderDecoder(device="cpu", dtype="float32")
        encode([folder], Path(work) / "set", codec, shard_size=0.1, engine=watched)
        ended = time.monotonic()
        lines = [line.split() for file in notes.iterdir() for line in file.read_text().splitlines()]
    first = min(float(moment) for moment, _ in lines)
    busy = sum(float(taken) for _, taken in lines)
    share = (len(lines) - 1) / len(lines)  # the first batch is what the clock starts at
    return Timed(
        first - begun,
        share * audio_seconds / (ended - first),
        1 - share * busy / (workers * (ended - first)),
    )


def stub(shards: Iterator[int], job: Job, progress: Callable[[float], None]) -> None:
    """An engine whose files have one latent each, all zero."""
    facts = Facts(hash="0" * 64, size=1000, sample_rate=44100, channels=1, num_samples=2000)
    values = np.zeros((1, job.coding.config.latent_dim, 1), np.float32)
    for shard in shards:
        writer = ShardWriter(job, shard)
        for number in range(len(writer.wanted)):
            writer.push(Batch([Row(input=number, chunk=0, channel=0, last=True)], values))
            writer.push(Outcome(number, facts, 1))
        writer.finish()


def peak() -> float:
    """Most memory that this process had, in MB; getrusage would count its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def rows_of(count: int) -> None:
    """Encode a manifest of so many rows, and print what it took; in a process of its own, for its memory."""
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "list.csv"
        with manifest.open("w") as file:
            file.write("path,size,etag\n")
            file.writelines(f"music/{number:07d}.flac,90000,x\n" for number in range(count))
        codec = EncoderDecoder(device="cpu", dtype="float32")
        before = peak()
        begun = time.perf_counter()
        encode([manifest], Path(folder) / "set", codec, engine=stub, shard_size=1)
        made = time.perf_counter()
        encode([manifest], Path(folder) / "set", codec, engine=stub, shard_size=1)
        again = time.perf_counter()
        memory = peak()
        problems = list(verify(Path(folder) / "set"))
        checked = time.perf_counter()
        assert not problems, problems[0]
        size = sum(path.stat().st_size for path in (Path(folder) / "set").glob("*.tar"))
        print(json.dumps([count, before, memory, made - begun, again - made, checked - again, size / 1e6]))


def main(
    seconds: Annotated[float, typer.Option(help="Of audio in each measurement.")] = 1200,
    rows: Annotated[list[int], typer.Option(help="Lengths of manifests.")] = [100, 10_000, 1_000_000],  # noqa: B006
    ray: Annotated[bool, typer.Option("--ray", help="Measure Ray too.")] = False,
    only_rows: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure, and write benchmarks/dataset.md."""
    if only_rows is not None:
        rows_of(only_rows)
        return
    lines = [
        "# Whole collections",
        "",
        f"    python benchmarks/dataset.py --seconds {seconds:g}{' --ray' * ray}",
        "",
        f"On {processor()}, the bundled model in float32, mono flac at 44.1 kHz; all measured in one run.",
        "",
        "| files | engine | workers | hours of audio per hour | files per second | outside the model | start-up (s) |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        for each in (2.0, 30.0):
            folder = make_files(Path(temporary) / f"{each:g}", seconds, each)
            duration = len(list(folder.iterdir())) * each
            for workers in (1, 2):
                for name, engine in [("local", Local(["cpu"] * workers, 1))] + [("ray", Ray(None, workers))] * ray:
                    found = timed(folder, engine, workers, duration)
                    lines.append(
                        f"| {each:g} s | {name} | {workers} | {found.speed:.1f} | {found.speed / each:.1f} | "
                        f"{found.outside:.0%} | {found.start:.1f} |"
                    )
                    print(lines[-1], flush=True)
    lines += [
        "",
        "A manifest's length, with a stub for files and model (one latent each); memory is that of the process that",
        "plans and writes.",
        "",
        "| rows | memory before (MB) | peak (MB) | made in (s) | again, nothing to do (s) | verify (s) | shards (MB) |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for count in rows:
        line = [sys.executable, __file__, "--only-rows", str(count)]
        found = json.loads(subprocess.run(line, stdout=subprocess.PIPE, check=True).stdout)
        lines.append(f"| {count:,} | " + " | ".join(f"{value:.1f}" for value in found[1:]) + " |")
        print(lines[-1], flush=True)
    (ROOT / "benchmarks" / "dataset.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    typer.run(main)
