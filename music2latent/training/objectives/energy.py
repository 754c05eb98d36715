"""An energy score: two decodings of a crop shall be as far from each other as each is from the original.

ES(x) = E d(x, y) - 1/2 E d(y, y') for two independent samples y, y' (Gritsenko et al., arXiv 2008.01160, equation 2). A
distance alone is lowest for a median, which is smooth where the latents leave something open; the second term pays for
decoding one of the possible originals instead. In expectation the score is lowest for the original's own distribution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ...stft import SILENT, stft
from ..ranges import WEIGHT, WINDOWS, within
from .batch import Batch, Stage


def frame_distance(one: Tensor, two: Tensor, scale: Tensor, phases: float) -> Tensor:
    """Norms over bins of the differences of log magnitudes (root mean square) and of complex values (relative to
    `scale`), mean over frames: `[B, T, F]` complex -> `[B]`. Both are metrics, as the score demands."""
    logs = ((one.abs() + SILENT) / (two.abs() + SILENT)).log().square().mean(-1)
    values = torch.view_as_real(one - two).square().sum((-1, -2))
    tiny = 1e-12  # where the gradient of a root is infinite
    return (logs + tiny).sqrt().mean(1) + phases * (values + tiny).sqrt().mean(1) / scale


@dataclass(frozen=True, kw_only=True)
class Energy:
    """The audio that one step from sigma_max gives shall be distributed as originals are, given the latents."""

    looks_at: ClassVar[Stage] = Stage.AUDIO
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    sizes: tuple[int, ...] = within((512, 2048, 8192), *WINDOWS)
    """Window lengths in samples; crops must be longer than the longest."""
    phases: float = within(1.0, *WEIGHT)
    """Factor on the distance of complex values; that on the distance of log magnitudes is 1."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The score of a batch; how far two decodings are apart relative to their distance to the original."""
        away = apart = batch.audio.new_zeros(())
        for size in self.sizes:
            one, two = (stft(x, size, pad=True) for x in (batch.decoded, batch.decoded_again))
            with torch.no_grad():
                wanted = stft(batch.original, size, pad=True)
                scale = wanted.abs().square().sum(-1).sqrt().mean(1).clamp(min=SILENT)
            for decoded in (one, two):
                away = away + frame_distance(decoded, wanted, scale, self.phases).mean() / (2 * len(self.sizes))
            apart = apart + frame_distance(one, two, scale, self.phases).mean() / len(self.sizes)
        return away - apart / 2, {"apart": apart / away}
