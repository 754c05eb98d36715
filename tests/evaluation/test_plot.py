"""Pictures of reconstructions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from music2latent import EncoderDecoder
from music2latent.audio import write_audio
from music2latent.evaluation.plot import log_frequency_decibels, plot_reconstruction

from ..helpers import audio_file


@pytest.mark.parametrize("hertz", [100, 1000, 10000])
@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_tone_is_brightest_at_its_frequency(tmp_path: Path, hertz: float, rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)
    write_audio(tmp_path / "a.wav", [tone[None]], rate, 1, rate)
    levels, frequencies = log_frequency_decibels(tmp_path / "a.wav", 1.0)
    assert levels.max() == 0
    brightest = frequencies[levels[:, levels.shape[1] // 2].argmax()]
    assert abs(brightest - hertz) < max(0.03 * hertz, rate / 2048)


def test_the_shortest_clip_has_a_picture(tmp_path: Path, tiny: EncoderDecoder) -> None:
    song = audio_file(tmp_path / "a.wav", 1, 1)
    plot_reconstruction(song, song, tiny.compress(song), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_silence_is_dark(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", [np.zeros((1, 9000), np.float32)], 44100, 1, 9000)
    levels, _ = log_frequency_decibels(tmp_path / "a.wav", 1.0)
    assert levels.max() <= -80
