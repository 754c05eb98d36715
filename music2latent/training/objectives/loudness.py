"""How loud the decoded audio is, octave by octave.

Where the latents do not tell the level of each bin, the other objectives are served best by a mean of magnitudes or a
median of their logarithms; either has less energy than the original. The energy of an octave over a third of a second
is known, so a shortfall shows here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ranges import WINDOWS, within
from .bands import Bands


@dataclass(frozen=True, kw_only=True)
class Loudness(Bands):
    """The audio that one step from sigma_max gives shall have the original's energy in every octave."""

    sizes: tuple[int, ...] = within((4096,), *WINDOWS)
    """Window lengths in samples; crops must be longer than the longest."""
    per_octave: int = within(1, 1, 96)
    """Bands per octave."""
    block: int = within(16, 1, 4096)
    """Windows, a quarter of their length apart, whose energy counts together: 0.37 s, about a block of BS.1770."""
    decibels: float = within(60.0, 1.0, 200.0)
    """Levels so far under the crop's loudest octave are not told apart."""
