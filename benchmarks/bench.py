"""Speed and memory beside the official package and other codecs; long files; start-up.

    make bench        which is: python benchmarks/bench.py --peers PYTHON-OF-THEIR-ENVIRONMENT

Every figure is taken in a process of its own, and the codecs take turns, so that whatever else the machine does falls
on all. Writes benchmarks/results.json, benchmarks/README.md and benchmarks/speed.png.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import torch
import typer
from machine import processor
from matplotlib.figure import Figure

from music2latent.autoencoder import Autoencoder
from music2latent.config import PRESETS

HERE = Path(__file__).parent
OURS = ("auto", "float32", "mini", "auto, GPU", "compiled, GPU")
NAMES = {
    "official": "music2latent 0.1.8, official shape",
    "auto": "ours, official shape, default precision",
    "float32": "ours, official shape, float32",
    "mini": "ours, the bundled model",
    "linear-cae": "linear-cae 0.1.4, official shape",
    "codicodec": "codicodec 0.1.2, stereo",
    "dac": "descript-audio-codec 1.0.0, 44 kHz",
    "encodec": "encodec 0.1.1, 24 kHz, 6 kbit/s",
    "official, GPU": "music2latent 0.1.8, official shape, GPU",
    "auto, GPU": "ours, official shape, GPU",
    "compiled, GPU": "ours, official shape, GPU, compiled",
}
LIMIT = 400
"""Seconds after which a codec's process is given up, and longer audio with it."""
ONCE = 120
"""A process of more seconds than this is not repeated."""
MINUTES = (1, 10, 60)


def official_checkpoint(path: Path) -> None:
    """A checkpoint in the official package's own format, with random weights of the official shape."""
    torch.manual_seed(0)
    model = Autoencoder(PRESETS["official"])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    torch.save({"gen_state_dict": model.state_dict()}, path)


def peers(
    python: Path, lengths: list[float], rounds: int, codecs: list[str], checkpoint: Path, failed: dict[str, str]
) -> list[dict[str, Any]]:
    """Medians over the rounds of what worker.py gives, per length and codec; without those that `failed` before."""
    rows = []
    for seconds in sorted(lengths):
        taken: dict[str, list[dict[str, float]]] = {codec: [] for codec in codecs}
        once: set[str] = set()
        for number in range(rounds if seconds <= 10 else 1):
            for codec in codecs:
                if codec in failed or codec in once:
                    continue
                begun = time.perf_counter()
                try:
                    taken[codec].append(one_round(python, codec, seconds, checkpoint))
                except subprocess.TimeoutExpired:
                    failed[codec] = f"over {LIMIT} s for {seconds:g} s"
                except subprocess.CalledProcessError as error:
                    failed[codec] = error.stderr.strip().rpartition("\n")[2][:120]
                if time.perf_counter() - begun > ONCE:
                    once.add(codec)
                typer.echo(f"{seconds:g} s, round {number + 1}: {codec}", err=True)
        for codec in codecs:
            row: dict[str, Any] = {"codec": codec, "seconds": seconds}
            if codec in failed:
                rows.append(row | {"failed": failed[codec]})
            else:
                one = taken[codec]
                rows.append(row | {key: statistics.median(t[key] for t in one) for key in one[0]})
    return rows


def one_round(python: Path, codec: str, seconds: float, checkpoint: Path) -> dict[str, float]:
    """Encoding in one process and decoding in another, so that peaks of memory are their own."""
    interpreter = sys.executable if codec in OURS else str(python)
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        code = str(Path(folder) / "code.pt")
        command = [interpreter, "-W", "ignore", str(HERE / "worker.py"), codec, str(seconds), str(checkpoint), code]
        for _ in range(2):
            # Not in the repository's root, where the peers would import our package for theirs.
            done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=LIMIT, check=True)
            found |= json.loads(done.stdout.splitlines()[-1])
    return found


def long_files(folder: Path) -> list[dict[str, Any]]:
    """A file of so many minutes through the command line and back, with the bundled model."""
    rows = []
    clip, rate = soundfile.read(HERE.parent / "examples" / "clip.ogg", dtype="int16", always_2d=True)
    clip = clip[:, 0]
    for minutes in MINUTES:
        wanted = minutes * 60 * rate
        with soundfile.SoundFile(folder / "long.wav", "w", rate, 1) as file:
            for start in range(0, wanted, len(clip)):
                file.write(clip[: wanted - start])
        encode = measured("encode", str(folder / "long.wav"), "--output", str(folder / "long.m2l"), "--force")
        decode = measured("decode", str(folder / "long.m2l"), "--output", str(folder / "back.wav"), "--force")
        assert soundfile.info(folder / "back.wav").frames == wanted
        rows.append({"minutes": minutes, "encode": encode, "decode": decode})
        typer.echo(f"{minutes} min: {encode} {decode}", err=True)
    return rows


def measured(*arguments: str) -> dict[str, float]:
    """Seconds and peak memory in bytes of a command of ours."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "music2latent", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, arguments
    return {"seconds": time.perf_counter() - begun, "peak": usage.ru_maxrss * 1024}


def start_up(checkpoint: Path) -> dict[str, float]:
    """Seconds, the median of five: of imports, of the help, of the official shape from a warm disk."""

    def median(*arguments: str) -> float:
        taken = []
        for _ in range(6):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-W", "ignore", *arguments], check=True, stdout=subprocess.DEVNULL)
            taken.append(time.perf_counter() - begun)
        return statistics.median(taken[1:])

    converted = checkpoint.with_suffix(".safetensors")
    convert = ["-m", "music2latent", "convert", str(checkpoint), str(converted)]
    subprocess.run([sys.executable, "-W", "ignore", *convert], check=True, stdout=subprocess.DEVNULL)
    load = "import time, torch, music2latent.codec as c; begun = time.perf_counter(); c.EncoderDecoder(r'{}');"
    load += "print(time.perf_counter() - begun)"
    loads = {}
    for path in (checkpoint, converted):
        command = [sys.executable, "-W", "ignore", "-c", load.format(path)]
        loads[path.suffix] = statistics.median(
            float(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(5)
        )
    return {
        "python": median("-c", "pass"),
        "import torch": median("-c", "import torch"),
        "import music2latent": median("-c", "import music2latent"),
        "from music2latent import EncoderDecoder": median("-c", "from music2latent import EncoderDecoder"),
        "music2latent --help": median("-m", "music2latent", "--help"),
    } | {f"loading the official shape, {suffix}": seconds for suffix, seconds in loads.items()}


def report(results: dict[str, Any]) -> str:
    """The tables."""
    rounds = f"medians of {results['rounds']} rounds up to 10 s, one round beyond"
    lines = ["# Speed and memory", "", "    make bench", "", f"On {results['machine']}; {rounds}.", ""]
    for seconds in sorted({row["seconds"] for row in results["peers"]}):
        rows = {row["codec"]: row for row in results["peers"] if row["seconds"] == seconds}
        base = rows.get("official", {})
        lines += [f"## {seconds:g} s of audio, one channel", ""]
        columns = ["x real time", "x official", "peak (GB)"]
        lines += [
            "| | " + " | ".join(["encode (s)", *columns, "decode (s)", *columns]) + " |",
            "|---" + "|---:" * 8 + "|",
        ]
        for codec, row in rows.items():
            if "failed" in row:
                lines.append(f"| {NAMES[codec]} | {row['failed']} |" + " |" * 7)
                continue
            cells = [NAMES[codec]]
            for verb in ("encode", "decode"):
                key, peak = f"{verb}_seconds", row.get(f"{verb}_peak")
                times = f"{base[key] / row[key]:.2f}" if key in base else ""
                cells += [f"{row[key]:.2f}", f"{seconds / row[key]:.1f}", times, f"{peak / 1e9:.2f}" if peak else ""]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    if not any(row["codec"].endswith("GPU") for row in results["peers"]):
        lines += ["On a GPU: not measured, there was none.", ""]
    lines += ["![Times real time at the longest length up to 10 s](speed.png)", ""]
    if results["long_files"]:
        lines += ["## Long files, the bundled model on the command line", ""]
        lines += ["| minutes | encode (s) | x real time | peak (GB) | decode (s) | x real time | peak (GB) |"]
        lines += ["|---:|---:|---:|---:|---:|---:|---:|"]
        for row in results["long_files"]:
            cells = [str(row["minutes"])]
            for one in (row["encode"], row["decode"]):
                speed = 60 * row["minutes"] / one["seconds"]
                cells += [f"{one['seconds']:.1f}", f"{speed:.1f}", f"{one['peak'] / 1e9:.2f}"]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["## Start-up", "", "| | seconds |", "|---|---:|"]
    lines += [f"| {name} | {seconds:.2f} |" for name, seconds in results["start_up"].items()]
    return "\n".join(lines) + "\n"


def picture(results: dict[str, Any], target: Path) -> None:
    """Times real time of every codec, encoding and decoding."""
    seconds = max(row["seconds"] for row in results["peers"] if row["seconds"] <= 10)
    rows = [row for row in results["peers"] if row["seconds"] == seconds and "failed" not in row]
    figure = Figure(figsize=(9, 0.5 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))
    for shift, key, label in ((-0.2, "encode_seconds", "encode"), (0.2, "decode_seconds", "decode")):
        bars = axes.barh(places + shift, [seconds / row[key] for row in rows], 0.38, label=label)
        axes.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
    axes.set_yticks(places, [NAMES[row["codec"]] for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel=f"times real time, {seconds:g} s of audio")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.legend(fontsize=8)
    figure.savefig(target, dpi=90)


def main(
    python: Annotated[Path, typer.Option("--peers", help="Python of the environment with peers.txt.")],
    length: Annotated[list[float] | None, typer.Option(help="Seconds of audio.")] = None,
    codec: Annotated[list[str] | None, typer.Option(help="Which, of worker.py's.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of every length up to 10 s; longer ones once.")] = 3,
    long: Annotated[bool, typer.Option(help="Measure long files too.")] = True,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = HERE,
) -> None:
    """Measure everything and write the report. With other lengths, the rows of the rest stay as they were."""
    known = [name for name in NAMES if torch.cuda.is_available() or not name.endswith("GPU")]
    lengths = length or [2, 10, 60]
    path = output / "results.json"
    before = json.loads(path.read_text()) if length and path.exists() else {"peers": [], "long_files": []}
    failed = {
        row["codec"]: row["failed"] for row in before["peers"] if row.get("failed") and row["seconds"] < min(lengths)
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        official_checkpoint(checkpoint := folder / "official.pt")
        results = {
            "machine": f"{processor()}, torch {torch.__version__}",
            "rounds": rounds,
            "start_up": start_up(checkpoint),
            "peers": [row for row in before["peers"] if row["seconds"] not in lengths]
            + peers(python.absolute(), lengths, rounds, codec or known, checkpoint, failed),
            "long_files": long_files(folder) if long else before["long_files"],
        }
    path.write_text(json.dumps(results, indent=1) + "\n")
    (output / "README.md").write_text(report(results))
    picture(results, output / "speed.png")


if __name__ == "__main__":
    typer.run(main)
