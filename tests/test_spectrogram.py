from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from music2latent import spectrogram

from .helpers import REFERENCE, gradient, relative_error, sound
from .reference import fill_weights

HOP = 512


@pytest.mark.parametrize("samples", [2048, 2559, 2560, 40000])
def test_lengths(samples: int) -> None:
    spec = spectrogram.spectrogram(torch.zeros(3, samples), HOP)
    columns = (samples - 1536) // HOP
    assert spec.shape == (3, 2, 1024, columns)
    assert spectrogram.inverse(spec).shape == (3, HOP * (columns + 3))


def test_round_trip_where_four_windows_overlap() -> None:
    audio = torch.from_numpy(sound(2, 1536 + 40 * HOP))
    back = spectrogram.inverse(spectrogram.spectrogram(audio, HOP))
    inner = slice(1536, -1536)
    # Exact but for the Nyquist bin, which is dropped; this signal has noise there.
    assert relative_error(back[:, inner], audio[:, inner]) < 0.02
    smooth = torch.sin(torch.arange(1536 + 40 * HOP) * 0.05)[None] * 0.5
    back = spectrogram.inverse(spectrogram.spectrogram(smooth, HOP))
    assert relative_error(back[:, inner], smooth[:, inner]) < 1e-5
    assert back[0, :50].abs().max() < 0.01  # the ends fade


def test_a_tone_has_its_level_in_its_bin() -> None:
    bin_, amplitude = 100, 0.25
    tone = amplitude * torch.cos(2 * math.pi * bin_ / 2048 * torch.arange(8192))
    magnitudes = spectrogram.spectrogram(tone[None], HOP).norm(dim=1)[0]
    assert (magnitudes.argmax(0) == bin_).all()
    expected = 0.34 * (amplitude * 2048 / 4) ** 0.65  # a Hann window's sum is n_fft / 2, half of it per sign
    assert magnitudes[bin_].numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gradient_is_finite_at_zero(direction: str) -> None:
    if direction == "forward":
        x = torch.zeros(1, 8192, requires_grad=True)
        spectrogram.spectrogram(x, HOP).sum().backward()
    else:
        x = torch.zeros(1, 2, 1024, 8, requires_grad=True)
        spectrogram.overlap_add(spectrogram.synthesise(x)).sum().backward()
    assert torch.isfinite(gradient(x)).all()


def test_pieces_add_up_to_the_whole() -> None:
    spec = spectrogram.spectrogram(torch.from_numpy(sound(1, 1536 + 24 * HOP)), HOP)
    whole = spectrogram.overlap_add(spectrogram.synthesise(spec))
    joined = torch.zeros_like(whole)
    for start, stop in [(0, 8), (8, 9), (9, 24)]:
        piece = spectrogram.overlap_add(spectrogram.synthesise(spec[..., start:stop]))
        joined[:, HOP * start : HOP * start + piece.shape[1]] += piece
    assert relative_error(joined, whole) < 1e-6


def test_inverse_vector() -> None:
    vector = np.load(REFERENCE / "inverse.npz")
    spec = vector["scale"] * fill_weights.noise(int(vector["noise_seed"]))(1, 2, 1024, 16)
    audio = spectrogram.inverse(torch.from_numpy(spec.astype(np.float32)))
    assert audio.abs().max() == 1  # loud enough to be clamped
    assert relative_error(audio, vector["audio"]) < 1e-5


def test_spectrogram_vector() -> None:
    audio = torch.from_numpy(fill_weights.audio(1, 1, 40000))
    expected = np.load(REFERENCE / "tiny-mono.npz")["spectrogram"]
    assert relative_error(spectrogram.spectrogram(audio, HOP), expected) < 1e-6


def test_expanding_undoes_compressing() -> None:
    c = torch.randn(2, 2, 8, 5) * torch.logspace(-6, 3, 5)
    assert torch.allclose(spectrogram.expand(spectrogram.compress(c)), c, rtol=1e-4)
