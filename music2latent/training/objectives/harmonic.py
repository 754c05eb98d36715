"""Magnitudes of the decoded audio where energy is, in windows long enough to tell partials from the floor between them.

An L1 of log magnitudes over all bins counts the floor, hundreds of bins, as much as the partials, so a smooth envelope
does well in it. Here every bin counts by its magnitude to the power 0.6, about its loudness (Stevens' law).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from ...stft import SILENT
from ..ranges import WEIGHT, WINDOWS, within
from .batch import Batch, Stage
from .spectral import convergence


def weighted_log_difference(found: Tensor, wanted: Tensor, power: float) -> Tensor:
    """Mean difference of log magnitudes `[B, T, F]` with weights wanted^power, `[B]`."""
    weights = wanted.flatten(1).clamp(min=1e-12) ** power
    difference = ((found + SILENT) / (wanted + SILENT)).log().abs().flatten(1)
    return (weights * difference).sum(1) / weights.sum(1)


@dataclass(frozen=True, kw_only=True)
class Harmonic:
    """The audio that one step from sigma_max gives shall have the magnitudes of the original, partials first."""

    looks_at: ClassVar[Stage] = Stage.AUDIO
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    sizes: tuple[int, ...] = within((512, 2048, 4096, 8192), *WINDOWS)
    """Window lengths in samples; crops must be longer than the longest."""
    convergence: float = within(2.0, *WEIGHT)
    """Factor on the spectral convergence; that on the weighted difference of logs is 1."""
    power: float = within(0.6, 0.0, 4.0)
    """Bins weigh as much as the original's magnitude to this power."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; its two parts."""
        converged = logs = batch.audio.new_zeros(())
        for size in self.sizes:
            found, wanted = batch.magnitudes(size)
            converged = converged + convergence(found, wanted).mean() / len(self.sizes)
            logs = logs + weighted_log_difference(found, wanted, self.power).mean() / len(self.sizes)
        return self.convergence * converged + logs, {"convergence": converged, "weighted_log": logs}
