"""Audio `[B, n]` <-> compressed complex spectrogram `[B, 2, F, T]`, T columns of F bins (paper, section 3.1).

Both directions go through overlapping segments of the audio, one per column, so that long signals can be cut between
any two of them:

    audio [B, n] --segment--> segments [B, T, n_fft] --analyse--> spectrogram [B, 2, F, T]
    spectrogram [B, 2, F, T] --synthesise--> segments [B, T, n_fft] --overlap_add--> audio [B, n]

There is no padding: T = (n - edge) // hop_length and n = hop_length * T + edge, where edge = n_fft - hop_length.
The first and last `edge` samples lie in fewer than four segments and are not renormalised: they fade.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ALPHA, BETA = 0.65, 0.34
"""Amplitude compression c -> BETA |c|^ALPHA e^{i arg c}."""

_TINY = 1e-8
"""Amplitudes below are mapped linearly: the power law has no finite slope at zero. It is 140 dB under a
full-scale bin, and changes no float32 result by more than rounding does."""


def segment(audio: Tensor, hop_length: int) -> Tensor:
    """audio `[B, n]` -> segments `[B, T, 4 hop_length]`, a view; the last samples that fill no hop are left out."""
    return audio.unfold(-1, 4 * hop_length, hop_length)


def analyse(segments: Tensor) -> Tensor:
    """segments `[B, T, n_fft]` -> compressed spectrogram `[B, 2, n_fft / 2, T]`; the Nyquist bin is dropped."""
    n_fft = segments.shape[-1]
    window = torch.hann_window(n_fft, periodic=True, dtype=segments.dtype, device=segments.device)
    bins = torch.fft.rfft(segments * window)[..., :-1]
    return compress(torch.view_as_real(bins).permute(0, 3, 2, 1))


def synthesise(spectrogram: Tensor) -> Tensor:
    """compressed spectrogram `[B, 2, F, T]` -> windowed segments `[B, T, 2 F]`, ready for `overlap_add`."""
    c = expand(spectrogram).permute(0, 3, 2, 1)  # [B, T, F, 2]
    bins = F.pad(torch.view_as_complex(c.contiguous()), (0, 1))
    n_fft = 2 * spectrogram.shape[2]
    return torch.fft.irfft(bins, n=n_fft) * synthesis_window(n_fft, c.dtype, c.device)


def compress(c: Tensor) -> Tensor:
    """Transform `[B, 2, F, T]`, real and imaginary parts -> compressed spectrogram of that shape."""
    return BETA * c * _power(c, ALPHA - 1)


def expand(spectrogram: Tensor) -> Tensor:
    """The inverse of `compress`."""
    c = spectrogram / BETA
    return c * _power(c, 1 / ALPHA - 1)


def overlap_add(segments: Tensor) -> Tensor:
    """segments `[B, T, n_fft]` -> audio `[B, hop_length * T + edge]`."""
    batch, count, n_fft = segments.shape
    hop = n_fft // 4
    # Segment t is four hops long; its k-th hop lands at hop t + k.
    hops = segments.unflatten(-1, (4, hop))
    audio = segments.new_zeros(batch, count + 3, hop)
    for k in range(4):
        audio[:, k : k + count] += hops[:, :, k]
    return audio.flatten(1)


def spectrogram(audio: Tensor, hop_length: int) -> Tensor:
    """audio `[B, n]` -> compressed spectrogram `[B, 2, 2 hop_length, (n - edge) // hop_length]`."""
    return analyse(segment(audio, hop_length))


def inverse(spectrogram: Tensor) -> Tensor:
    """compressed spectrogram `[B, 2, F, T]` -> audio `[B, hop_length * T + edge]`, clamped to [-1, 1]."""
    return overlap_add(synthesise(spectrogram)).clamp(-1, 1)


def _power(c: Tensor, exponent: float) -> Tensor:
    """|c| ** exponent for c `[B, 2, ...]`, with a finite gradient everywhere."""
    return c.square().sum(1, keepdim=True).clamp(min=_TINY**2).pow(exponent / 2)


def synthesis_window(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """hann / S, where S repeats every hop and is the sum of the squared analysis windows over the four hops."""
    window = torch.hann_window(n_fft, periodic=True, dtype=dtype, device=device)
    total = window.square().view(4, -1).sum(0)
    return window / total.repeat(4)
