"""What a notebook shows."""

from __future__ import annotations

import base64
import io
import re
import sys

import numpy as np
import pytest
import soundfile
from matplotlib.figure import Figure

from music2latent import InputError
from music2latent.display import PICTURE_COLUMNS, audio_html, draw_latents, facts_html, latents_html

from .helpers import sound


def _inline(page: str, kind: str) -> bytes:
    found = re.search(rf"src='data:{kind};base64,([\w+/=]+)'", page)
    assert found
    return base64.b64decode(found[1])


def test_facts_are_escaped_and_short() -> None:
    page = facts_html("<b>", {"<i>": "<script>", "long": "a" * 10**6, "half": "\ud800", "n": 3}, "<p>below</p>")
    assert "&lt;b&gt;" in page
    assert "&lt;i&gt;" in page
    assert "&lt;script&gt;" in page
    assert "<td>3</td>" in page
    assert page.endswith("<p>below</p></div>")
    assert len(page.encode()) < 1000


@pytest.mark.parametrize("length", [1, 2, 300, 5 * PICTURE_COLUMNS + 1])
def test_a_picture_has_the_time_of_the_latents(length: int) -> None:
    values = np.zeros((64, length), np.float32)
    values[:, -1] = 1
    axes = Figure().subplots()
    image = draw_latents(axes, values, 0.03, 10.0)
    start, stop, *_ = image.get_extent()
    assert start == pytest.approx(0.03 - 0.05)
    assert stop == pytest.approx(start + length / 10)
    assert image.get_array().shape[1] <= PICTURE_COLUMNS
    assert axes.get_xlabel() == "seconds"


def test_pictures_are_small() -> None:
    page = latents_html(np.random.default_rng(0).standard_normal((64, 100_000)).astype(np.float32), 0.03, 10.77)
    assert _inline(page, "image/png").startswith(b"\x89PNG")
    assert len(page) < 1_000_000


def test_without_matplotlib_the_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("music2latent.extras.find_spec", lambda name: None)
    page = latents_html(np.zeros((64, 3), np.float32), 0.03, 10.77)
    assert page == "<p>No picture: matplotlib not installed; run: pip install &#x27;music2latent[plot]&#x27;</p>"


@pytest.mark.parametrize("rate", [1000, 44100, 48000, 192000])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_player_holds_the_sound(rate: int, channels: int) -> None:
    samples = sound(channels, rate)
    played, played_rate = soundfile.read(io.BytesIO(_inline(audio_html(samples, rate), "audio/ogg")))
    assert played_rate == 48000
    assert len(played) == pytest.approx(48000, abs=200)
    assert played.std() == pytest.approx(samples.std(), rel=0.5)
    assert "<small>" not in audio_html(samples[0], rate)


def test_a_long_player_says_what_it_leaves_out() -> None:
    page = audio_html(np.zeros((3, 8000 * 90)), 8000)
    assert "The first 60 of 90 seconds and 2 of 3 channels." in page
    assert len(soundfile.read(io.BytesIO(_inline(page, "audio/ogg")))[0]) == pytest.approx(60 * 48000, abs=1000)
    assert len(page) < 2_000_000


def test_refused_sounds() -> None:
    with pytest.raises(InputError, match="sample_rate = 1; accepted: whole numbers from 1000 to 768000"):
        audio_html(np.zeros(100), 1)
    with pytest.raises(InputError, match="NaN"):
        audio_html(np.full(100, np.nan), 44100)
    with pytest.raises(InputError, match=r"shape \[2, 2, 100\]; expected \[n\] or \[C, n\]"):
        audio_html(np.zeros((2, 2, 100)), 44100)
