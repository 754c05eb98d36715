"""`music2latent evaluate`: reconstruct a folder with several codecs, measure, and report.

Every codec codes all files in a process of its own, so that its peak memory is its own and its crash a row of the
table. Metrics are taken afterwards, from what it left on disk.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import platform
import signal
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count, repeat
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__, audio
from ..errors import InputError
from ..extras import require
from ..progress import NamedProgress
from ..stft import log_spectral_distance
from . import metrics
from .frechet import make_distance
from .latent_figures import latent_figures
from .paired import compare
from .peers import make_codec
from .pieces import Piece, choose
from .sound import Sound

logger = logging.getLogger(__name__)

FILES_PER_WORKER = 4
"""Fewer are measured sooner than another process starts."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is coded, by what."""

    codecs: tuple[str, ...]
    limit: int | None = None
    """Files per folder, evenly spaced."""
    seconds: float | None = None
    """From the middle of longer files."""
    min_seconds: float = 0.0
    """Shorter files are left out."""
    seeds: int = 5
    """Decodings of every file, where decoding draws noise; the first is reported, all give the spread, and the first
    two how far apart seeds are."""
    device: str | None = None
    dtype: str = "auto"
    fad: tuple[str, ...] = ()
    """Networks for the Fréchet Audio Distance, see `frechet`."""


def evaluate(inputs: list[Path], settings: Settings, folder: Path, progress: NamedProgress) -> dict[str, Any]:
    """Code and measure; every codec's reconstructions end up in `folder`, as NUMBER/INDEX-SEED.npy.

    Returns:
        settings, machine, files, and for every codec its figures: means with 95 % confidence intervals, per file, and
        over seeds, those of its latents, and what the first codec is beside it; or the reason why it could not run.

    Raises:
        InputError: a missing package, or no audio.
    """
    require("evaluate")
    distances = {network: make_distance(network) for network in settings.fad}
    pieces = choose(inputs, limit=settings.limit, seconds=settings.seconds, min_seconds=settings.min_seconds)
    if distances:
        _write(folder / "originals", (piece.read() for piece in pieces), pieces)
    rows: list[dict[str, Any]] = []
    with _several(len(pieces)) as map_files:
        for number, name in enumerate(settings.codecs):

            def tell(what: str, done: float, number: int = number) -> None:
                progress(what, (number + done) / len(settings.codecs))

            tell(f"{name}: coding", 0.0)
            place = folder / str(number)
            result = _in_a_process(name, pieces, settings, place)
            if isinstance(result, str):
                rows.append({"name": name, "error": result})
                continue
            files = []
            for file in map_files(_measure, result["files"], pieces, repeat(place), count()):
                files.append(file)
                tell(f"{name}: measuring", 0.5 + 0.5 * len(files) / len(pieces))
            row = {"name": name, **_summed_up(result | {"files": files}, pieces)}
            if rows and "error" not in rows[0]:
                row["paired"] = compare(rows[0]["files"], row["files"])
            if distances:
                first_seeds = (place / f"{index}-0.npy" for index in range(len(pieces)))
                _write(folder / f"{number}-wav", (torch.from_numpy(np.load(file)) for file in first_seeds), pieces)
                pair = folder / "originals", folder / f"{number}-wav"
                row["fad"] = {network: distance(*pair) for network, distance in distances.items()}
            rows.append(row)
    return {
        "settings": asdict(settings),
        "machine": {
            "music2latent": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "processor": f"{torch.get_num_threads()} threads, {platform.machine()}",
        },
        "files": [asdict(piece) for piece in pieces],
        "codecs": rows,
    }


def _measure(file: dict[str, Any], piece: Piece, folder: Path, index: int) -> dict[str, Any]:
    """What coding gave of one file, and its figures."""
    original = Sound(piece.read(), piece.sample_rate)
    decoded = [torch.from_numpy(np.load(folder / f"{index}-{seed}.npy")) for seed in range(len(file["seeds"]))]
    seeds = [metrics.measure(Sound(one, piece.sample_rate), original) for one in decoded]
    if len(decoded) < 2:
        return file | {"seeds": seeds}
    apart = float(log_spectral_distance(decoded[0], decoded[1]).mean())
    away = seeds[0]["log_spectral_distance"]
    return file | {"seeds": seeds, "seed_distance": apart / away if away else math.nan}


@contextmanager
def _several(files: int) -> Iterator[Callable[..., Iterable[dict[str, Any]]]]:
    """`map`, over several files at once where there are enough to pay for processes."""
    workers = min(torch.get_num_threads(), files // FILES_PER_WORKER)
    if workers < 2:
        yield map
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin_measuring) as pool:
        try:
            yield pool.map
        finally:
            pool.shutdown(cancel_futures=True)


def _begin_measuring() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this one
    torch.set_num_threads(1)


def _write(folder: Path, sounds: Iterable[torch.Tensor], pieces: list[Piece]) -> None:
    """As wav files, which other packages read."""
    folder.mkdir()
    for index, (sound, piece) in enumerate(zip(sounds, pieces, strict=True)):
        path = folder / f"{index}.wav"
        audio.write_audio(path, [sound.numpy()], piece.sample_rate, piece.channels, piece.num_samples)


def _in_a_process(name: str, pieces: list[Piece], settings: Settings, folder: Path) -> dict[str, Any] | str:
    """What coding gave, or why it could not be done."""
    folder.mkdir(parents=True)
    context = multiprocessing.get_context("spawn")
    results, end = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(end, name, pieces, settings, folder))
    process.start()
    end.close()
    try:
        answer: dict[str, Any] | str = results.recv()
        return answer
    except (EOFError, OSError):
        return f"{name}: its process died"
    finally:  # an interrupt too comes by here
        process.kill()
        process.join()


def _answer(end: Connection, name: str, pieces: list[Piece], settings: Settings, folder: Path) -> None:
    """The codec's process: sends what `_code` returns, or why it could not."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this one
    try:
        end.send(_code(name, pieces, settings, folder))
    except InputError as error:
        end.send(str(error))
    except Exception as error:  # whatever a foreign package raises is a row of the table
        end.send(f"{name}: {type(error).__name__}: {error}")


def _code(name: str, pieces: list[Piece], settings: Settings, folder: Path) -> dict[str, Any]:
    codec = make_codec(name, device=settings.device, dtype=settings.dtype)
    codec(pieces[0].read()[:, : 2 * pieces[0].sample_rate], pieces[0].sample_rate, 0)  # not timed: first calls prepare
    files, latents = [], []
    for index, piece in enumerate(pieces):
        original = piece.read()
        seeds: list[dict[str, float]] = []
        for seed in range(settings.seeds if codec.seeded else 1):
            coded = codec(original, piece.sample_rate, seed)
            np.save(folder / f"{index}-{seed}.npy", coded.audio.numpy())
            seeds.append({})
            if seed == 0:
                latents += [] if coded.latents is None else [coded.latents]
                facts = {
                    "kbps": coded.bits / piece.seconds / 1000 / piece.channels,
                    "encode_rate": piece.seconds / coded.encode_seconds,
                    "decode_rate": piece.seconds / coded.decode_seconds,
                }
        files.append({"seeds": seeds, **facts})
    return {"files": files, "latents": latent_figures(latents) if latents else None, "peak_bytes": peak_bytes()}


def peak_bytes() -> int:
    """Most memory that this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where getrusage counts what the parent held when it started this process
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _summed_up(result: dict[str, Any], pieces: list[Piece]) -> dict[str, Any]:
    files = [
        {key: value for key, value in facts.items() if key != "seeds"} | facts["seeds"][0] for facts in result["files"]
    ]
    every = [facts["seeds"] for facts in result["files"]]
    seconds = [piece.seconds for piece in pieces]
    rates = {
        key: sum(seconds) / sum(s / file[key] for s, file in zip(seconds, files, strict=True))
        for key in ("encode_rate", "decode_rate")
    }
    latents = result["latents"]
    if latents and all("seed_distance" in file for file in files):
        latents["seed_distance"] = _mean([file["seed_distance"] for file in files])
    spread = {
        name: deviation([_mean([facts[seed][name] for facts in every]) for seed in range(len(every[0]))])
        for name in metrics.METRICS
    }
    return {
        "kbps": sum(s * file["kbps"] for s, file in zip(seconds, files, strict=True)) / sum(seconds),
        **rates,
        "peak_bytes": result["peak_bytes"],
        "means": {name: interval([file[name] for file in files]) for name in metrics.METRICS},
        "spread_over_seeds": spread,
        "latents": latents,
        "files": files,
    }


def _known(values: list[float]) -> list[float]:
    return [value for value in values if math.isfinite(value)]


def _mean(values: list[float]) -> float:
    known = _known(values)
    return statistics.fmean(known) if known else math.nan


def deviation(values: list[float]) -> float:
    """Standard deviation of the values that are finite; 0 of fewer than two."""
    known = _known(values)
    return statistics.stdev(known) if len(known) > 1 else 0.0


def interval(values: list[float]) -> dict[str, float | int]:
    """Mean, 95 % confidence interval (bootstrap over files) and count of the values that are finite."""
    known = _known(values)
    mean = _mean(values)
    low = high = mean
    if len(known) > 1 and min(known) < max(known):
        from scipy.stats import bootstrap

        found = bootstrap((known,), np.mean, rng=np.random.default_rng(0), method="percentile").confidence_interval
        low, high = float(found.low), float(found.high)
    return {"mean": mean, "low": low, "high": high, "count": len(known)}
