"""Complex spectrograms of the decoded audio: its phases too, where the original's energy is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ...stft import SILENT
from .batch import Batch


def transform(audio: Tensor, n_fft: int) -> Tensor:
    """audio `[B, n]` -> STFT / sqrt(n_fft), `[B, T, n_fft / 2 + 1]` complex: `stft.magnitudes` before the magnitude."""
    window = torch.hann_window(n_fft, device=audio.device) / math.sqrt(n_fft)
    padded = F.pad(audio[:, None], (n_fft // 2, n_fft // 2), mode="reflect")[:, 0]
    return torch.fft.rfft(padded.unfold(1, n_fft, n_fft // 4) * window)


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """The audio that one step from sigma_max gives shall have the original's phases.

    Amplitudes are compressed, as in the model's own spectrograms, so that not the bass alone counts.
    """

    weight: float = 1.0
    """Factor on this loss; 0 leaves it out."""
    sizes: tuple[int, ...] = (512, 2048, 8192)
    """Window lengths in samples; crops must be longer than the longest."""
    power: float = 0.65
    """Amplitudes are raised to this power, phases kept."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The distance of compressed complex spectrograms relative to the original's norm; no further figures."""
        total = batch.audio.new_zeros(())
        for size in self.sizes:
            found = self._compressed(transform(batch.decoded, size))
            with torch.no_grad():
                wanted = self._compressed(transform(batch.original, size))
                scale = wanted.flatten(1).norm(dim=1).clamp(min=SILENT)
            total = total + ((found - wanted).flatten(1).norm(dim=1) / scale).mean() / len(self.sizes)
        return total, {}

    def _compressed(self, bins: Tensor) -> Tensor:
        parts = torch.view_as_real(bins)
        return parts * (parts.square().sum(-1, keepdim=True) + SILENT**2) ** ((self.power - 1) / 2)
