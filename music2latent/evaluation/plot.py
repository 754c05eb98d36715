"""Pictures: spectrograms of sounds, such as an original and its reconstruction, and the latents under them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from .. import audio
from ..display import draw_latents
from ..extras import require
from ..files import replacing
from ..latents import Latents
from ..stft import magnitudes

SECONDS = 20.0
"""Longer audio is shown up to here."""

N_FFT = 4096
"""Samples in a window of the spectrograms: long enough to tell partials apart."""


def plot_reconstruction(original: Path, reconstruction: Path, latents: Latents, target: Path) -> None:
    """Both spectrograms and the latents, as `plot_sounds` does it."""
    sounds = {"original": original, "reconstruction": reconstruction}
    plot_sounds({f"{what}: {path.name}": path for what, path in sounds.items()}, latents, target)


def plot_sounds(sounds: Mapping[str, Path], latents: Latents, target: Path) -> None:
    """Write a picture of the first 20 seconds, first channel, in the format of the target's suffix.

    Args:
        sounds: titles and files, each as long as the latents.
        latents: what is drawn under them.
        target: the picture.

    Raises:
        InputError: matplotlib is not installed, or the picture cannot be written.
    """
    require("plot")
    from matplotlib.figure import Figure

    seconds = min(SECONDS, latents.duration)
    figure = Figure(figsize=(10, 2 + 3 * len(sounds)), layout="constrained")
    rows = figure.subplots(len(sounds) + 1, 1, sharex=True)
    for row, (title, path) in zip(rows, sounds.items(), strict=False):
        decibels, frequencies = log_frequency_decibels(path, seconds)
        image = row.imshow(
            decibels, origin="lower", aspect="auto", cmap="magma", vmin=-80, vmax=0, extent=(0, seconds, 0, 1)
        )
        ticks = [hz for hz in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if hz < frequencies[-1]]
        places = np.interp(np.log(ticks), np.log(frequencies), np.linspace(0, 1, len(frequencies)))
        row.set_yticks(places, [f"{hz / 1000:g}k" if hz >= 1000 else f"{hz}" for hz in ticks])
        row.set(title=title, ylabel="Hz")
        figure.colorbar(image, ax=row, label="dB", pad=0.01)
    shown = latents[:seconds]
    image = draw_latents(rows[-1], shown.numpy()[0], shown.times[0], shown.frame_rate)
    figure.colorbar(image, ax=rows[-1], label="value", pad=0.01)
    rows[-1].set_xlim(0, seconds)
    channels, dim, length = latents.shape
    rows[-1].set_title(f"latents: {channels} x {dim} x {length}, {latents.bitrate():.1f} kbit/s in float16")
    with replacing(target) as partial:
        figure.savefig(partial, dpi=100)


def log_frequency_decibels(path: Path, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Levels `[rows, T]` in dB under the loudest, and the frequencies of the rows, evenly spaced on a log axis."""
    source = audio.open_audio(path)
    wanted = int(seconds * source.sample_rate)
    blocks = islice(source.blocks(), wanted // audio.BLOCK_SAMPLES + 1)
    samples = np.concatenate([block[:1] for block in blocks], axis=1)[:, :wanted]
    samples = np.pad(samples, ((0, 0), (N_FFT // 2, N_FFT // 2)))  # the shortest clip fills a window
    found = magnitudes(torch.from_numpy(samples), N_FFT, pad=False)[0].T.numpy()  # [bins, T]
    frequencies = np.geomspace(40, source.sample_rate / 2 * 0.999, 300)
    rows = np.round(frequencies / source.sample_rate * N_FFT).astype(int).clip(0, len(found) - 1)
    levels = 20 * np.log10(np.maximum(found[rows], 1e-8))
    return levels - max(levels.max(), -80.0), frequencies  # silence stays dark
