"""A picture of a reconstruction: both spectrograms, and the latents under them."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from .. import audio, spectrogram
from ..errors import missing_extra
from ..files import replacing
from ..latents import Latents

SECONDS = 20.0
"""Longer audio is shown up to here."""


def need_matplotlib() -> None:
    """Find out before any work is done.

    Raises:
        InputError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise missing_extra("matplotlib", "plot", "a picture")


def plot_reconstruction(original: Path, reconstruction: Path, latents: Latents, target: Path) -> None:
    """Write a picture of the first 20 seconds, first channel, in the format of the target's suffix.

    Raises:
        InputError: matplotlib is not installed, or the picture cannot be written.
    """
    need_matplotlib()
    from matplotlib.figure import Figure

    seconds = min(SECONDS, latents.duration)
    figure = Figure(figsize=(10, 8), layout="constrained")
    rows = figure.subplots(3, 1, sharex=True)
    for row, path, title in zip(rows, (original, reconstruction), ("original", "reconstruction"), strict=False):
        decibels, frequencies = log_frequency_decibels(path, seconds)
        image = row.imshow(
            decibels, origin="lower", aspect="auto", cmap="magma", vmin=-80, vmax=0, extent=(0, seconds, 0, 1)
        )
        ticks = [hz for hz in (50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000) if hz < frequencies[-1]]
        places = np.interp(np.log(ticks), np.log(frequencies), np.linspace(0, 1, len(frequencies)))
        row.set_yticks(places, [f"{hz / 1000:g}k" if hz >= 1000 else f"{hz}" for hz in ticks])
        row.set(title=f"{title}: {path.name}", ylabel="Hz")
        figure.colorbar(image, ax=row, label="dB", pad=0.01)
    count = round(seconds * latents.values.shape[-1] / latents.duration) or 1
    shown = latents.values[0, :, :count].numpy()
    limit = float(np.quantile(np.abs(shown), 0.99))
    image = rows[2].imshow(shown, aspect="auto", cmap="RdBu", vmin=-limit, vmax=limit, extent=(0, seconds, 0, 1))
    figure.colorbar(image, ax=rows[2], label="value", pad=0.01)
    rows[2].set_yticks([])
    channels, dim, length = latents.values.shape
    rows[2].set(
        title=f"latents: {channels} x {dim} x {length}, {latents.bitrate():.1f} kbit/s in float16",
        xlabel="seconds",
        ylabel="channel",
    )
    with replacing(target) as partial:
        figure.savefig(partial, dpi=100)


def log_frequency_decibels(path: Path, seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Levels `[rows, T]` in dB under the loudest, and the frequencies of the rows, evenly spaced on a log axis."""
    source = audio.open_audio(path)
    wanted = int(seconds * source.sample_rate)
    blocks = islice(source.blocks(), wanted // audio.BLOCK_SAMPLES + 1)
    samples = np.concatenate([block[:1] for block in blocks], axis=1)[:, :wanted]
    hop = 512
    samples = np.pad(samples, ((0, 0), (2 * hop, 2 * hop)))  # the shortest clip fills a frame
    magnitudes = spectrogram.magnitudes(torch.from_numpy(samples), hop)[0].numpy()
    frequencies = np.geomspace(40, source.sample_rate / 2 * 0.999, 300)
    rows = np.round(frequencies / source.sample_rate * 4 * hop).astype(int).clip(0, len(magnitudes) - 1)
    levels = 20 * np.log10(np.maximum(magnitudes[rows], 1e-6))
    return levels - levels.max(), frequencies
