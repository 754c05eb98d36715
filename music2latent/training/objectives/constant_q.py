"""Levels semitone by semitone, from the lowest notes on: a constant-Q transform (Brown 1991) of the decoded audio.

Bins 12 to 23 of a short-time Fourier transform are an octave, and each about a semitone wide; of a window half as long
they are the next octave. So low notes are seen by windows long enough to tell them apart, and attacks of high ones by
short windows, as an ear does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...stft import SILENT
from ..ranges import WEIGHT, WINDOWS, within
from .batch import Batch, Stage

OCTAVE = slice(12, 24)


@dataclass(frozen=True, kw_only=True)
class ConstantQ:
    """The audio that one step from sigma_max gives shall have the original's levels, every octave alike."""

    looks_at: ClassVar[Stage] = Stage.AUDIO
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    sizes: tuple[int, ...] = within((16384, 8192, 4096, 2048, 1024, 512, 256), 2 * OCTAVE.stop, WINDOWS[1])
    """Window lengths in samples, an octave each: C1 to B7 at 44.1 kHz. Crops must be longer than the longest."""
    decibels: float = within(80.0, 1.0, 200.0)
    """Levels so far under the crop's loudest bin are not told apart."""

    def differences(self, batch: Batch) -> list[Tensor]:
        """By how many dB the decoded audio is too loud, `[B, T, 12]` for each octave."""
        # Two windows at either end see what is mirrored there, which depends on phases.
        pairs = [[one[:, 2:-2, OCTAVE] for one in batch.magnitudes(size)] for size in self.sizes]
        levels = [[20 * (one + SILENT).log10() for one in pair] for pair in pairs]
        floor = torch.stack([wanted.amax((1, 2)) for _, wanted in levels]).amax(0)[:, None, None] - self.decibels
        return [torch.maximum(found, floor) - torch.maximum(wanted, floor) for found, wanted in levels]

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean difference of levels in units of 10 dB; by how many dB the decoded audio is too loud."""
        differences = self.differences(batch)
        loss = torch.stack([difference.abs().mean() for difference in differences]).mean() / 10
        return loss, {"louder": torch.stack([difference.detach().mean() for difference in differences]).mean()}
