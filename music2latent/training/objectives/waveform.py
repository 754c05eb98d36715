"""Complex spectrograms of the decoded audio: its phases too, where the original's energy is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...spectrogram import ALPHA
from ...stft import SILENT, stft
from ..ranges import WEIGHT, WINDOWS, within
from .batch import Batch, Stage


def compressed(bins: Tensor, power: float) -> Tensor:
    """Complex `[...]` with amplitudes raised to this power, phases kept, as real and imaginary parts `[..., 2]`."""
    parts = torch.view_as_real(bins)
    return parts * (parts.square().sum(-1, keepdim=True) + SILENT**2) ** ((power - 1) / 2)


@dataclass(frozen=True, kw_only=True)
class Waveform:
    """The audio that one step from sigma_max gives shall have the original's phases.

    Amplitudes are compressed, as in the model's own spectrograms, so that not the bass alone counts.
    """

    looks_at: ClassVar[Stage] = Stage.AUDIO
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    sizes: tuple[int, ...] = within((512, 2048, 8192), *WINDOWS)
    """Window lengths in samples; crops must be longer than the longest."""
    power: float = within(ALPHA, 0.0, 4.0)
    """Amplitudes are raised to this power, phases kept."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The distance of compressed complex spectrograms relative to the original's norm; no further figures."""
        total = batch.audio.new_zeros(())
        for size in self.sizes:
            found = compressed(stft(batch.decoded, size, pad=True), self.power)
            with torch.no_grad():
                wanted = compressed(stft(batch.original, size, pad=True), self.power)
                scale = wanted.flatten(1).norm(dim=1).clamp(min=SILENT)
            total = total + ((found - wanted).flatten(1).norm(dim=1) / scale).mean() / len(self.sizes)
        return total, {}
