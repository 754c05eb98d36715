"""Noise, tones and sweeps, which music and speech hardly have alone: python scripts/synthetic.py OUT

240 mono FLAC files of 10 s (40 minutes), drawn from a seed: for `music2latent train --data OUT=0.05` beside the corpus.
Without them a model may answer white noise with something ten times as loud.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.signal import chirp

from music2latent.audio import write_audio

RATE, SECONDS = 44100, 10
TIME = np.arange(RATE * SECONDS) / RATE


def noise(rng: np.random.Generator) -> np.ndarray:
    """Any colour from white to brown (power as 1 / f^slope), half of the files through a band."""
    frequencies = np.fft.rfftfreq(len(TIME), 1 / RATE)
    spectrum = np.fft.rfft(rng.standard_normal(len(TIME))) * frequencies.clip(20) ** (-rng.uniform(0, 2) / 2)
    low, high = np.sort(20 * 1000 ** rng.uniform(0, 1, 2))
    if rng.random() < 0.5:
        spectrum[(frequencies < low) | (frequencies > 2 * high)] = 0
    return np.fft.irfft(spectrum, len(TIME))


def tones(rng: np.random.Generator) -> np.ndarray:
    """One to eight sines of any frequency."""
    sines = [
        np.sin(2 * np.pi * 30 * 500 ** rng.random() * TIME + rng.uniform(0, 6.3)) for _ in range(rng.integers(1, 9))
    ]
    return np.sum(sines, axis=0)


def sweep(rng: np.random.Generator) -> np.ndarray:
    """From one frequency to another, logarithmically."""
    first, last = 30 * 500 ** rng.random(2)
    return chirp(TIME, first, SECONDS, last, method="logarithmic")


def main(out: Annotated[Path, typer.Argument(help="A folder.")], files: int = 240, seed: int = 0) -> None:
    """Write the files: levels from -60 to -16 dB, falling or rising by up to 20 dB."""
    if out.exists():
        typer.echo(f"error: {out}: exists already; name a new folder", err=True)
        raise typer.Exit(1)
    out.mkdir(parents=True)
    for index in range(files):
        rng = np.random.default_rng([seed, index])
        kind = (noise, noise, tones, sweep)[index % 4]
        sound = kind(rng)
        level, change = rng.uniform(-60, -16), rng.uniform(-20, 20)
        sound *= 10 ** ((level + change * (TIME / SECONDS - 0.5)) / 20) / np.sqrt(np.square(sound).mean())
        target = out / f"{index:03d}-{kind.__name__}.flac"
        write_audio(target, [sound[None].clip(-1, 1).astype(np.float32)], RATE, 1, len(sound))


if __name__ == "__main__":
    typer.run(main)
