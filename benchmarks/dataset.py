"""How fast collections are encoded, what of that is not the model, what a manifest's length costs, how verify scales.

    python benchmarks/dataset.py [--seconds 600] [--rows 100 10000 1000000] [--ray]

Files are made of the clip in examples/, as flac at 44.1 kHz. Speed is that between the first and the last of what is
done, without start-up, which is told apart; of Ray, whose results come in large blocks, it is that of the whole run.
"Outside the model" is the share of the workers' time in which the model alone, on the same batches and as many
processes at once, would not be busy. Rows of manifests are encoded with a stub in place of files and model. Writes
benchmarks/dataset.md.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer
from machine import processor

from music2latent import EncoderDecoder
from music2latent.dataset import encode, verify
from music2latent.dataset.batches import Batch, Coding, Mapper, Outcome, Row, batched
from music2latent.dataset.engines.local import Local
from music2latent.dataset.engines.ray import Ray
from music2latent.dataset.inputs import find
from music2latent.dataset.reading import Facts, reader
from music2latent.dataset.shards import Job, ShardWriter

ROOT = Path(__file__).parent.parent
TOGETHER: Any = None


def make_files(folder: Path, seconds: float, each: float) -> Path:
    """Files of the clip, each another by its gain."""
    folder.mkdir(parents=True)
    clip, rate = soundfile.read(ROOT / "examples" / "clip.ogg", dtype="float32", always_2d=True)
    mono = np.tile(clip[:, 0], -(-int(each * rate) // len(clip)))[: int(each * rate)]
    for number in range(max(4, round(seconds / each))):
        soundfile.write(folder / f"{number:05d}.flac", mono * (0.9 - number * 1e-5), rate)
    return folder


def timed(folder: Path, engine: Any) -> dict[str, float]:
    """Start-up, and audio per second after it."""
    begun = time.perf_counter()
    moments: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as output:
        encode(
            [folder],
            Path(output) / "set",
            EncoderDecoder(device="cpu", dtype="float32"),
            shard_size=0.1,
            engine=engine,
            progress=lambda seconds: moments.append((time.perf_counter(), seconds)),
        )
    (first, before), (last, after) = next(one for one in moments if one[1]), moments[-1]
    return {"start": first - begun, "speed": (after - before) / (last - first), "all": time.perf_counter() - begun}


def _model_alone(folder: str, queue: Any) -> None:
    codec = EncoderDecoder(device="cpu", dtype="float32")
    mapper = Mapper(codec, features=False)
    read = reader(codec.sample_rate, None)
    parts = ((number, part) for number, one in enumerate(find([folder])) for part in (*read(one), None))
    events = batched(parts, Coding.of(codec, codec.sample_rate, lead_is_half=False), 1)
    batches = [one for one in itertools.islice(events, 60) if isinstance(one, Batch)]
    mapper(batches[0])
    TOGETHER.wait()
    begun = time.perf_counter()
    for batch in batches:
        mapper(batch)
    queue.put((len(batches), time.perf_counter() - begun))


def model_alone(folder: Path, processes: int, files: int, seconds: float) -> float:
    """Audio per second of the model in so many processes at once, of what one file's batches hold."""
    global TOGETHER
    context = multiprocessing.get_context("fork")
    TOGETHER, queue = context.Barrier(processes), context.Queue()
    children = [context.Process(target=_model_alone, args=(str(folder), queue)) for _ in range(processes)]
    for child in children:
        child.start()
    done = [queue.get() for _ in children]
    for child in children:
        child.join()
    codec = EncoderDecoder(device="cpu", dtype="float32")
    coding = Coding.of(codec, codec.sample_rate, lead_is_half=False)
    latents = -(-int(seconds * codec.sample_rate + codec.config.edge) // codec.frame_size)
    per_file = len(list(coding.plan.spans(latents)))
    return sum(batches / per_file * seconds / taken for batches, taken in done)


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
    seconds: Annotated[float, typer.Option(help="Of audio in each measurement.")] = 600,
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
            files = len(list(folder.iterdir()))
            alone = {workers: model_alone(folder, workers, files, each) for workers in (1, 2)}
            for workers in (1, 2):
                for name, engine in [("local", Local(["cpu"] * workers, 1))] + [("ray", Ray(None, workers))] * ray:
                    found = timed(folder, engine)
                    speed, outside = found["speed"], f"{1 - found['speed'] / alone[workers]:.0%}"
                    if name == "ray":  # results come in a few large blocks, so that only the whole can be timed
                        speed, outside = files * each / found["all"], ""
                    lines.append(
                        f"| {each:g} s | {name} | {workers} | {speed:.1f} | {speed / each:.1f} | "
                        f"{outside} | {found['start']:.1f} |"
                    )
                    print(lines[-1], flush=True)
            lines.append(f"| {each:g} s | the model alone | 1 | {alone[1]:.1f} | {alone[1] / each:.1f} | | |")
            lines.append(f"| {each:g} s | the model alone | 2 | {alone[2]:.1f} | {alone[2] / each:.1f} | | |")
            shutil.rmtree(folder)
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
