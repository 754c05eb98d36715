"""What a notebook shows: facts as a table, a picture of latents, a player. HTML without scripts, all inline."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import soundfile

from .arrays import as_float
from .errors import InputError
from .extras import require
from .resampling import check_rate, resample_array

PICTURE_COLUMNS = 2000
"""Of longer latents every second one is drawn, or every third, so that there are at most so many."""

PLAYED_SECONDS = 60
"""Longer audio is played up to here, so that a notebook stays small: a minute of stereo is about a megabyte."""

PLAYED_RATE = 48000
"""Opus, small and played by every browser, knows no 44100."""


def facts_html(title: str, facts: Mapping[str, object], *below: str) -> str:
    """A title over a table of facts, and HTML that follows. Title and facts may come out of files: they are escaped."""
    rows = "".join(
        f"<tr><th style='text-align: left'>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in facts.items()
    )
    return f"<div><strong>{_text(title)}</strong><table>{rows}</table>{''.join(below)}</div>"


def _text(value: object) -> str:
    """Any value as harmless, short HTML."""
    text = str(value).encode("utf-8", "replace").decode()
    return html.escape(text if len(text) <= 200 else text[:199] + "…")


def draw_latents(axes: Any, values: np.ndarray, first: float, frame_rate: float) -> Any:
    """Draw one channel's latents over time into matplotlib's axes.

    Args:
        axes: of matplotlib.
        values: `[D, L]`.
        first: the second at which the first latent sounds (`Latents.times[0]`).
        frame_rate: latents per second.

    Returns:
        Matplotlib's image, for a colour bar.
    """
    start = first - 0.5 / frame_rate
    shown = values[:, :: -(-values.shape[1] // PICTURE_COLUMNS)]
    limit = float(np.quantile(np.abs(shown), 0.99)) or 1.0
    axes.set(xlabel="seconds", ylabel="channel", yticks=[])
    extent = (start, start + values.shape[1] / frame_rate, 0, 1)
    style = {"cmap": "RdBu", "vmin": -limit, "vmax": limit, "interpolation": "nearest"}  # smoothed, a PNG is large
    return axes.imshow(shown, aspect="auto", extent=extent, **style)


def latents_html(values: np.ndarray, first: float, frame_rate: float) -> str:
    """A picture of one channel's latents, arguments as in `draw_latents`; without matplotlib, how to install it."""
    try:
        require("plot")
    except InputError as error:
        return f"<p>No picture: {_text(error)}</p>"
    from matplotlib.figure import Figure

    figure, buffer = Figure(figsize=(10, 2.5), layout="constrained"), io.BytesIO()
    axes = figure.subplots()
    figure.colorbar(draw_latents(axes, values, first, frame_rate), ax=axes, label="value", pad=0.01)
    figure.savefig(buffer, format="png", dpi=90)
    return f"<img alt='latents over time' src='data:image/png;base64,{_base64(buffer)}'>"


def audio_html(samples: Any, sample_rate: int) -> str:
    """A player with the sound in it, as Opus: at most the first minute and two channels, which it then says.

    Args:
        samples: array or tensor `[n]` or `[C, n]`.
        sample_rate: in Hz.

    Raises:
        InputError: samples that are not finite or not time last, or a rate out of range.
    """
    rate = check_rate("sample_rate", sample_rate)
    audio = np.atleast_2d(as_float(samples).detach().cpu().numpy())
    if audio.ndim > 2:
        raise InputError(f"audio of shape {list(audio.shape)}; expected [n] or [C, n], one piece of audio at a time")
    channels, num_samples = audio.shape
    played = resample_array(audio[:2, : PLAYED_SECONDS * rate], rate, PLAYED_RATE)
    buffer = io.BytesIO()
    soundfile.write(buffer, played.T, PLAYED_RATE, format="OGG", subtype="OPUS")
    left_out = [f"{PLAYED_SECONDS} of {num_samples / rate:.0f} seconds"] * (num_samples > PLAYED_SECONDS * rate)
    left_out += [f"2 of {channels} channels"] * (channels > 2)
    note = f"<br><small>The first {' and '.join(left_out)}.</small>" if left_out else ""
    return f"<div><audio controls src='data:audio/ogg;base64,{_base64(buffer)}'></audio>{note}</div>"


def _base64(buffer: io.BytesIO) -> str:
    return base64.b64encode(buffer.getvalue()).decode()
