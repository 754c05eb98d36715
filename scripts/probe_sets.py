"""Data sets for `music2latent probe`, by recipe.

python scripts/probe_sets.py notes OUT              single notes of General MIDI instruments, with a free soundfont
python scripts/probe_sets.py languages CORPUS OUT   the corpus' speech: which language is it, across recordings
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import soundfile
import typer
from corpus import fetch, unpack
from corpus_pack import MANIFEST
from mido import Message
from scores import RATE, TICKS, render

app = typer.Typer(add_completion=False)

SOUNDFONT = ("musescore-general-soundfont-small", "usr/share/sounds/sf3/MuseScore_General_Lite.sf3")
"""Package and file; MuseScore_General is under the MIT licence."""
FAMILIES = (
    *("piano", "chromatic percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass", "reed", "pipe"),
    *("synth lead", "synth pad"),
)
"""General MIDI's first twelve families, eight programs each."""
PROGRAMS = (0, 2, 4, 6)
"""Of every family."""
PITCHES = range(48, 72)
"""MIDI notes C3 to B4."""
NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
HELD, TOTAL = 1.0, 1.5
"""Of a note: how long its key is down, and the whole file, in seconds."""


@app.command()
def notes(out: Annotated[Path, typer.Argument(help="Where the data set goes.")]) -> None:
    """Every note of every instrument, one file each: pitch class, family, instrument."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        unpack(fetch(SOUNDFONT[0], Path(folder)), Path(folder) / "tree")
        for program in (8 * family + offset for family in range(len(FAMILIES)) for offset in PROGRAMS):
            score = [(0, Message("program_change", program=program))]
            for index, pitch in enumerate(PITCHES):
                begun = round(index * TOTAL * TICKS)
                score.append((begun, Message("note_on", note=pitch, velocity=90)))
                score.append((begun + round(HELD * TICKS), Message("note_off", note=pitch)))
                score.append((begun + round(TOTAL * TICKS), Message("control_change", control=120, value=0)))
            samples = render(score, Path(folder) / "notes.wav", Path(folder) / "tree" / SOUNDFONT[1])
            length = round(TOTAL * RATE)
            for index, pitch in enumerate(PITCHES):
                path = f"{program:03}/{pitch}.flac"
                (out / path).parent.mkdir(exist_ok=True)
                soundfile.write(out / path, samples[index * length : (index + 1) * length].mean(1), RATE)
                rows.append(
                    {
                        "path": path,
                        "pitch class": NAMES[pitch % 12],
                        "pitch class.group": program,  # on instruments never heard
                        "family": FAMILIES[program // 8],
                        "family.group": program,
                        "instrument": program,
                        "instrument.group": pitch,  # on pitches never heard
                    }
                )
    write(out, rows)


@app.command()
def languages(
    corpus: Annotated[Path, typer.Argument(help="What scripts/corpus.py built.")],
    out: Annotated[Path, typer.Argument(help="Where the table goes; audio stays in the corpus.")],
    most: Annotated[int, typer.Option(help="Files per language and package, evenly spaced.")] = 60,
) -> None:
    """Languages that at least two packages speak, each with other voices and microphones."""
    spoken: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in json.loads((corpus / MANIFEST).read_text())["files"]:
        if row["kind"] == "speech" and len(row["voice"]) == 2 and row["seconds"] >= 0.4:
            spoken[row["voice"]][row["package"]].append(row["path"])
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for language, packages in sorted(spoken.items()):
        kept = {package: sorted(paths) for package, paths in packages.items() if len(paths) >= 40}
        if len(kept) < 2:
            continue
        for package, paths in kept.items():
            for index in np.linspace(0, len(paths) - 1, min(most, len(paths))).round().astype(int):
                path = os.path.relpath(corpus / paths[index], out)
                rows.append({"path": path, "language": language, "language.group": package})
    write(out, rows)


def write(out: Path, rows: list[dict[str, Any]]) -> None:
    """The table that `music2latent probe` reads."""
    with (out / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    typer.echo(f"{out}: {len(rows)} files")


if __name__ == "__main__":
    app()
