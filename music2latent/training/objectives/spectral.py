"""Magnitudes of the decoded audio at several resolutions (Parallel WaveGAN, arXiv 1910.11480, equations 4 to 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...stft import SILENT, magnitudes
from ..ranges import WEIGHT, WINDOWS, within
from .batch import Batch, Stage


def convergence(found: Tensor, wanted: Tensor) -> Tensor:
    """Spectral convergence of magnitudes `[B, T, F]`, `[B]`, relative to the louder of the two.

    In the paper it is relative to the reference; so no quiet crop outweighs a batch.
    """
    found, wanted = found.flatten(1), wanted.flatten(1)
    with torch.no_grad():
        louder = torch.maximum(found.norm(dim=1), wanted.norm(dim=1)).clamp(min=SILENT)
    return (found - wanted).norm(dim=1) / louder


def magnitude_distance(found: Tensor, wanted: Tensor) -> Tensor:
    """Of magnitudes `[B, T, F]`, `[B]`: spectral convergence plus L1 of logs.

    A constant is added to the magnitudes of the second, 100 dB under a full-scale tone: what is below is inaudible, yet
    has a gradient.
    """
    logs = ((found + SILENT) / (wanted + SILENT)).log().abs().flatten(1).mean(1)
    return convergence(found, wanted) + logs


def spectral_distance(estimate: Tensor, reference: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Of audio `[B, n]`, `[B]`: `magnitude_distance`, mean over the window lengths."""
    pairs = ([magnitudes(audio, size, pad=True) for audio in (estimate, reference)] for size in sizes)
    return torch.stack([magnitude_distance(*pair) for pair in pairs]).mean(0)


@dataclass(frozen=True, kw_only=True)
class Spectral:
    """The audio that one step from sigma_max gives shall have the magnitudes of the original."""

    looks_at: ClassVar[Stage] = Stage.AUDIO
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    sizes: tuple[int, ...] = within((256, 512, 1024, 2048, 4096), *WINDOWS)
    """Window lengths in samples."""
    second: float = within(0.0, 0.0, 1.0)
    """Part of the crops, 0 to 1, for which it takes a second step instead: from the model's own one-step output, with
    noise of the drawn sigma. Without it a model that this loss alone has trained decodes in one step only."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch; no further figures."""
        second = round(self.second * len(batch.noise))
        if second:
            return spectral_distance(self._decoded(batch, second), batch.original, self.sizes).mean(), {}
        return torch.stack([magnitude_distance(*batch.magnitudes(size)) for size in self.sizes]).mean(), {}

    def _decoded(self, batch: Batch, second: int) -> Tensor:
        """The audio of a second step for so many crops, of the first for the rest."""
        model, sigma_max, pyramid = batch.model, batch.model.config.sigma_max, batch.pyramid
        start = sigma_max * batch.noise
        level = start.new_full((len(start),), sigma_max)
        with torch.no_grad():  # no gradient through the first step, which sampling takes as well
            first = model.denoise(start[:second], level[:second], [p[:second].detach() for p in pyramid])
        torch.clear_autocast_cache()  # PyTorch 2.6 would use this pass' casts of the weights again, without a graph
        level = torch.cat([batch.sigma[:second].to(level), level[second:]])
        other = batch.noise[:second].flip(-1)  # independent of what `first` was made of, and costs nothing
        start = torch.cat([first + level[:second, None, None, None] * other, start[second:]])
        return batch.audio_of(model.denoise(start, level, pyramid))
