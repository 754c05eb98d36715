"""Rendered scores, where every pitch is known to be one: python scripts/scores.py OUT

240 mono FLAC files of 20 s (80 minutes), drawn from a seed: one to four voices of scales, melodies and chords, each on
its own General MIDI instrument, half of them tuned off the tempered scale. For `music2latent train --data OUT=0.2`
beside the corpus, whose game music has few steady notes. Needs fluidsynth; two free soundfonts are fetched from Debian.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer
from corpus import fetch, unpack
from mido import Message, MidiFile, MidiTrack

RATE, SECONDS = 44100, 20.0
TICKS = 960
"""Per second: mido's 480 per beat, at 120 beats a minute."""
SOUNDFONTS = {
    "fluid-soundfont-gm": "usr/share/sounds/sf2/FluidR3_GM.sf2",
    "timgm6mb-soundfont": "usr/share/sounds/sf2/TimGM6mb.sf2",
}
"""Packages and files: FluidR3 under the MIT licence, TimGM6mb under the GPL 2."""
MELODIC = 112
"""General MIDI's programs with pitches; percussion and effects follow."""
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), tuple(range(12)))
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 3, 7, 10), (0, 5, 7), (0, 7, 12), (0, 3, 6, 9))


def render(score: list[tuple[int, Message]], wave: Path, soundfont: Path) -> np.ndarray:
    """Messages at ticks -> audio `[n, 2]` float32 at `RATE` Hz; `wave` is where it is written in between."""
    synthesiser = shutil.which("fluidsynth")
    if synthesiser is None:
        raise typer.BadParameter("fluidsynth is not installed: apt-get install fluidsynth")
    track, now = MidiTrack(), 0
    for tick, message in sorted(score, key=lambda one: one[0]):
        track.append(message.copy(time=tick - now))
        now = tick
    midi = wave.with_suffix(".mid")
    MidiFile(tracks=[track]).save(midi)
    options = ["-ni", "-q", "-r", str(RATE), "-g", "0.6", "-F", str(wave)]
    subprocess.run([synthesiser, *options, str(soundfont), str(midi)], check=True)
    return soundfile.read(wave, dtype="float32", always_2d=True)[0]


def voice(rng: np.random.Generator, channel: int, root: int, cents: float) -> list[tuple[int, Message]]:
    """Twenty seconds of one instrument: a scale up and down, a melody, or chords, so many cents off."""
    bend = round(8192 * cents / 200)  # General MIDI: two semitones at most
    score = [
        (0, Message("program_change", channel=channel, program=int(rng.integers(MELODIC)))),
        (0, Message("pitchwheel", channel=channel, pitch=bend)),
        (0, Message("control_change", channel=channel, control=10, value=int(rng.integers(128)))),
    ]
    scale, kind = SCALES[rng.integers(len(SCALES))], rng.integers(3)
    length = round(TICKS * rng.choice([0.125, 0.25, 0.5, 1.0, 2.0], p=[0.1, 0.25, 0.3, 0.2, 0.15]))
    step, begun = 0, 0
    while begun < SECONDS * TICKS - length:
        degree = abs((step + 14) % 28 - 14) if kind == 0 else int(rng.integers(14))
        octave, index = divmod(degree, len(scale))
        intervals = CHORDS[rng.integers(len(CHORDS))] if kind == 2 else (0,)
        velocity, sounding = int(rng.integers(40, 120)), round(length * rng.uniform(0.5, 1.0))
        for interval in intervals:
            note = min(root + 12 * octave + scale[index] + interval, 108)
            on = Message("note_on", channel=channel, note=note, velocity=velocity)
            score += [(begun, on), (begun + sounding, Message("note_off", channel=channel, note=note))]
        step, begun = step + 1, begun + length
    return score


def main(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    files: Annotated[int, typer.Option(help="How many.")] = 240,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Where packages are kept, as for the corpus.")] = None,
) -> None:
    """Write the files, and soundfonts.txt with where their sounds come from."""
    if out.exists():
        typer.echo(f"error: {out}: exists already; name a new folder", err=True)
        raise typer.Exit(1)
    with tempfile.TemporaryDirectory() as folder:
        work, fonts = Path(folder), []
        for package, file in SOUNDFONTS.items():
            version = unpack(fetch(package, cache or work), work / package)
            fonts.append((work / package / file, f"{package} {version}: {file}"))
        out.mkdir(parents=True)
        notices = [work / name / "usr/share/doc" / name / "copyright" for name in SOUNDFONTS]
        texts = [notice for _, notice in fonts] + [path.read_text() for path in notices]
        (out / "soundfonts.txt").write_text("\n\n".join(texts))
        for index in range(files):
            rng = np.random.default_rng([seed, index])
            cents, root = (rng.uniform(-50, 50) if index % 4 >= 2 else 0.0), int(rng.integers(36, 66))
            score = [
                message
                for channel in range(rng.integers(1, 5))
                for message in voice(rng, channel, root + 12 * int(rng.integers(0, 2)), cents)
            ]
            sound = render(score, work / "score.wav", fonts[index % 2][0])[: round(SECONDS * RATE)].mean(1)
            soundfile.write(out / f"{index:03d}.flac", sound / max(1.0, np.abs(sound).max()), RATE)


if __name__ == "__main__":
    typer.run(main)
