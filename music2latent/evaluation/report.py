"""The pages that `evaluate` leaves: report.md, pictures, and index.html with original and reconstructions to play."""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .. import audio
from ..files import replacing
from ..progress import NamedProgress
from ..resampling import resample
from .evaluate import Settings, evaluate
from .metrics import DISTANCES, METRICS, TONAL, Metric
from .pieces import Piece
from .plot import log_frequency_decibels

PLAYED_RATE = 48000
"""Examples are Opus files, small and played by every browser."""

PLAYED_SECONDS = 5
"""From the middle of longer ones, so that a page with its sounds can be sent around."""

COLOURS = 40
"""Of the picture of spectrograms: a step of 2 dB each, which makes the file a quarter as large."""


def run(inputs: list[Path], settings: Settings, output: Path, *, examples: int, progress: NamedProgress) -> Path:
    """Evaluate, and write report.json, report.md, three pictures, and index.html that plays `examples` of the files.

    Returns:
        The page.

    Raises:
        InputError: as in `evaluate`, or a place that cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = evaluate(inputs, settings, Path(folder), progress)
        output.mkdir(parents=True, exist_ok=True)
        with replacing(output / "report.json") as partial:
            partial.write_text(json.dumps(_without_nan(result), indent=1, allow_nan=False) + "\n")
        return write_report(result, Path(folder), output, examples)


def _without_nan(value: Any) -> Any:
    """NaN as null, because JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_report(result: dict[str, Any], work: Path, output: Path, examples: int) -> Path:
    """Write everything but report.json; `work` holds the reconstructions, as `evaluate` leaves them."""
    from jinja2 import Environment, StrictUndefined

    ran = [row for row in result["codecs"] if "error" not in row]
    pieces = [Piece(**facts) for facts in result["files"]]
    played = np.linspace(0, len(pieces) - 1, min(examples, len(pieces))).round().astype(int)
    players = [_example(index, pieces[index], result["codecs"], work, output) for index in played]
    pictures = {}
    if ran:
        pictures = {
            "spectrograms.png": draw_spectrograms(players, output, output / "spectrograms.png"),
            "bitrate.png": _against_bitrate(ran, output),
            "files.png": _per_file(ran, output),
        }
    text = markdown(result)
    with replacing(output / "report.md") as partial:
        partial.write_text(text)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files(__package__) / "report.html").read_text())
    page = output / "index.html"
    with replacing(page) as partial:
        partial.write_text(template.render(result=result, tables=tables(result), players=players, pictures=pictures))
    return page


@dataclass(frozen=True)
class Table:
    """A table of the report."""

    title: str
    note: str
    lines: list[list[str]]
    """Titles of the columns, then rows."""


def tables(result: dict[str, Any]) -> list[Table]:
    """Everything that was measured."""
    ran = [row for row in result["codecs"] if "error" not in row]
    ours = [row for row in ran if row["latents"]]
    beside = [row for row in ran if "paired" in row]
    found = [
        Table("Cost", COST_NOTE, [["codec", *COST], *(_cost(row) for row in ran)]),
        Table("Tonal figures", TONAL_NOTE, _means(ran, TONAL)),
        Table("Distances", DISTANCES_NOTE, _means(ran, DISTANCES, result["settings"]["fad"])),
    ]
    if ours:
        found.append(Table("Latents", LATENTS_NOTE, [["model", *LATENTS], *(_latents(row) for row in ours)]))
    if beside:
        head = [f"{ran[0]['name']} is", *(f"beside {row['name']}" for row in beside)]
        rows = [[metric.heading, *(_verdict(row, name) for row in beside)] for name, metric in METRICS.items()]
        found.append(Table(f"{ran[0]['name']} beside the others", PAIRED_NOTE, [head, *rows]))
    spread = [row for row in ran if any(row["spread_over_seeds"].values())]
    if spread:
        rows = [[row["name"], *(f"{value:.3g}" for value in row["spread_over_seeds"].values())] for row in spread]
        note = f"Standard deviation of the means over {result['settings']['seeds']} seeds."
        found.append(Table("Seeds", note, [["codec", *(metric.title for metric in METRICS.values())], *rows]))
    return found


COST = ("kbit/s", "encode x", "decode x", "peak memory")
COST_NOTE = "Bitrates are per channel; rates are audio seconds per second."
TONAL_NOTE = (
    "Harmonics, and whether they are where they were. Pitch is that of files which are voiced for at least half of "
    "their time: speech, single instruments, and what pYIN takes for such."
)
DISTANCES_NOTE = "All bins of a spectrogram count alike here, so that smooth envelopes do well; see the tonal figures."
LATENTS_NOTE = (
    "How many of the channels count (participation ratio of the covariance's eigenvalues), what part of their variance "
    "a linear map of the latent before predicts, and the distance between two seeds' outputs relative to that to the "
    "original (log-spectral)."
)
LATENTS = ("channels", "effective dimension", "predictable", "two seeds")
PAIRED_NOTE = (
    "Wilcoxon's signed-rank test over the same files, false discovery rate 5 %; in brackets the mean difference and "
    "how many files both have."
)


def _cost(row: dict[str, Any]) -> list[str]:
    speeds = [f"{row[key]:.1f}" for key in ("encode_rate", "decode_rate")]
    return [row["name"], f"{row['kbps']:.1f}", *speeds, f"{row['peak_bytes'] / 1e6:.0f} MB"]


def _means(ran: list[dict[str, Any]], chosen: dict[str, Metric], fad: Sequence[str] = ()) -> list[list[str]]:
    head = ["codec", *(metric.heading for metric in chosen.values())]
    lines = [head + [f"Fréchet Audio Distance ({network}), lower" for network in fad]]
    for row in ran:
        distances = ["none" if math.isnan(row["fad"][network]) else f"{row['fad'][network]:.2f}" for network in fad]
        lines.append([row["name"], *(_interval(row["means"][name]) for name in chosen), *distances])
    return lines


def _latents(row: dict[str, Any]) -> list[str]:
    figures = row["latents"]
    apart = f"{figures['seed_distance']:.0%}" if "seed_distance" in figures else "none"
    known = math.isfinite(figures["predictability"])
    predictable = f"{figures['predictability']:.0%}" if known else "none"
    return [row["name"], str(figures["latent_dim"]), f"{figures['effective_dimension']:.1f}", predictable, apart]


def _verdict(row: dict[str, Any], name: str) -> str:
    found = row["paired"][name]
    return f"{found['verdict']} ({found['difference']:+.2g}, {found['count']})" if found["count"] else "none"


def markdown(result: dict[str, Any]) -> str:
    """The tables, with what they were measured on."""
    settings, machine = result["settings"], result["machine"]
    seconds = sum(piece["num_samples"] / piece["sample_rate"] for piece in result["files"])
    parts = [
        f"{len(result['files'])} files, {seconds / 60:.1f} minutes; noise of seed 0; dtype {settings['dtype']}, "
        f"{machine['processor']}, torch {machine['torch']}. Means with 95 % confidence intervals over files."
    ]
    for table in tables(result):
        head, *rows = table.lines
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        parts.append(f"## {table.title}\n\n{table.note}\n\n{text}")
    failed = [f"- {row['name']}: {row['error']}" for row in result["codecs"] if "error" in row]
    if failed:
        parts.append("## Not measured\n\n" + "\n".join(failed))
    return "# Evaluation\n\n" + "\n\n".join(parts) + "\n"


def _interval(figures: dict[str, float]) -> str:
    if not figures["count"]:
        return "none"
    digits = 3 if abs(figures["mean"]) < 1 else 2
    return "{:.{d}f} ({:.{d}f} to {:.{d}f})".format(*(figures[key] for key in ("mean", "low", "high")), d=digits)


def _example(index: int, piece: Piece, codecs: list[dict[str, Any]], work: Path, output: Path) -> dict[str, Any]:
    """Write the original and every codec's reconstruction of one file; the first codec's with two seeds if it has."""
    folder = output / "audio"
    folder.mkdir(exist_ok=True)

    def write(samples: np.ndarray, name: str) -> str:
        played = min(piece.num_samples, PLAYED_SECONDS * piece.sample_rate)
        start = (piece.num_samples - played) // 2
        samples = samples[:, start : start + played]
        blocks = list(resample([samples], piece.channels, piece.sample_rate, PLAYED_RATE))
        length = sum(block.shape[1] for block in blocks)
        audio.write_audio(folder / name, blocks, PLAYED_RATE, piece.channels, length)
        return f"audio/{name}"

    versions = [{"name": "original", "file": write(piece.read().numpy(), f"{index}-original.opus")}]
    for number, row in enumerate(codecs):
        found = sorted((work / str(number)).glob(f"{index}-*.npy"))[: 1 if number else 2] if "error" not in row else []
        for seed, path in enumerate(found):
            name = row["name"] if len(found) == 1 else f"{row['name']}, seed {seed}"
            versions.append({"name": name, "file": write(np.load(path), f"{index}-{number}-{seed}.opus")})
    return {"title": Path(piece.path).name, "versions": versions}


def draw_spectrograms(players: list[dict[str, Any]], folder: Path, target: Path) -> str:
    """A picture with a row for each player and its `versions` side by side, whose files are in `folder`.

    Returns:
        What it shows.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    across = max(len(player["versions"]) for player in players)
    figure = Figure(figsize=(2.6 * across, 2.2 * len(players) + 0.4), layout="constrained")
    grid = figure.subplots(len(players), across, squeeze=False)
    for row, player in zip(grid, players, strict=True):
        for axes, version in zip(row, player["versions"], strict=True):
            levels, _ = log_frequency_decibels(folder / version["file"], 10.0)
            axes.imshow(levels, origin="lower", aspect="auto", cmap="magma", vmin=-80, vmax=0)
            axes.set(xticks=[], yticks=[])
            axes.set_title(version["name"], fontsize=8)
        row[0].set_ylabel(player["title"][:24], fontsize=7)
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=80)
    Image.open(drawn).convert("RGB").quantize(COLOURS).save(target, optimize=True)
    return "Spectrograms of the examples, 40 Hz to half the rate on a log axis, 80 dB from black to white."


def _against_bitrate(ran: list[dict[str, Any]], output: Path) -> str:
    def draw(axes: Any, name: str, row: dict[str, Any]) -> None:
        figures = row["means"][name]
        low, high = figures["mean"] - figures["low"], figures["high"] - figures["mean"]
        axes.errorbar(row["kbps"], figures["mean"], [[low], [high]], fmt="o", capsize=3, label=row["name"])

    _per_metric(ran, output / "bitrate.png", "kbit/s per channel", draw)
    return "Metrics against bitrate, means with 95 % confidence intervals."


def _per_file(ran: list[dict[str, Any]], output: Path) -> str:
    def draw(axes: Any, name: str, row: dict[str, Any]) -> None:
        axes.plot([file[name] for file in row["files"]], ".", label=row["name"])

    _per_metric(ran, output / "files.png", "file", draw)
    return "The same for every file."


def _per_metric(
    ran: list[dict[str, Any]], target: Path, xlabel: str, draw: Callable[[Any, str, dict[str, Any]], None]
) -> None:
    """A picture with one plot for every metric and, in it, every codec."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 8), layout="constrained")
    grid = list(figure.subplots(3, 4).flat)
    for axes, (name, metric) in zip(grid, METRICS.items(), strict=False):
        for row in ran:
            draw(axes, name, row)
        axes.set(title=f"{metric.title} ({metric.better})", xlabel=xlabel, ylabel=metric.unit)
    handles = axes.get_legend_handles_labels()
    for spare in grid[len(METRICS) :]:
        spare.axis("off")
        spare.legend(*handles)
    figure.savefig(target, dpi=80)
