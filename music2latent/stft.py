"""The plain short-time Fourier transform, and how far two pieces of audio are apart in its magnitudes.

For losses, figures and pictures; the transform that the model itself works on is `spectrogram`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

SILENT = 1e-4
"""Magnitudes below this are inaudible: 100 dB under a full-scale tone."""


def stft(audio: Tensor, n_fft: int, *, pad: bool) -> Tensor:
    """audio `[B, n]` -> STFT / sqrt(n_fft), complex `[B, T, n_fft / 2 + 1]`: Hann windows, a quarter of n_fft apart.

    `pad` mirrors half a window at either end. The gradient of segments taken by `unfold` costs less than that of
    `torch.stft`, which computes the same.
    """
    window = torch.hann_window(n_fft, device=audio.device) / math.sqrt(n_fft)
    if pad:
        audio = F.pad(audio[:, None], (n_fft // 2, n_fft // 2), mode="reflect")[:, 0]
    return torch.fft.rfft(audio.unfold(1, n_fft, n_fft // 4) * window)


def magnitudes(audio: Tensor, n_fft: int, *, pad: bool) -> Tensor:
    """The absolute values of `stft`."""
    return stft(audio, n_fft, pad=pad).abs()


def log_spectral_distance(estimate: Tensor, reference: Tensor, n_fft: int = 2048) -> Tensor:
    """Root mean square over bins of the difference of levels in dB, mean over time (Gray and Markel 1976).

    Shape: `[C, n]` and `[C, n]` -> `[C]`.
    """
    pad = reference.shape[-1] < n_fft
    one, two = (20 * magnitudes(x, n_fft, pad=pad).clamp(min=SILENT).log10() for x in (estimate, reference))
    return (one - two).square().mean(2).sqrt().mean(1)


def picture(clip: Tensor, hop_length: int) -> Tensor:
    """A spectrogram as a grey image `[1, 256, 512]` in [0, 1], low frequencies at the bottom, over 80 dB."""
    levels = 20 * magnitudes(clip[None], 4 * hop_length, pad=False)[0].T.clamp(min=1e-6).log10()
    image = ((levels - levels.max().clamp(min=-40) + 80) / 80).clamp(0, 1).flip(0)  # silence, at -120, stays dark
    return F.interpolate(image[None, None], (256, 512), mode="area")[0]  # too tall to look at with all its bins
