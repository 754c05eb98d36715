"""`Sound`: audio, and what several metrics take from it, computed once."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from ..resampling import resample_array

LOWEST = 32.7
"""Hz, C1: where seven octaves of the constant-Q transform begin."""

OCTAVES = 7

PITCH_RATE = 22050
"""Hz that pitch is looked for at."""

PITCH_RANGE = (65.0, 1050.0)
"""Hz, C2 to C6."""


@dataclass(frozen=True, eq=False)
class Sound:
    """Audio `[C, n]` at `sample_rate` Hz."""

    audio: Tensor
    sample_rate: int

    @cached_property
    def constant_q(self) -> np.ndarray:
        """Magnitudes of the constant-Q transform, seven octaves from C1, a bin per semitone: `[C, 84, frames]`."""
        return self._constant_q(12)

    @cached_property
    def chroma(self) -> np.ndarray:
        """Magnitudes per pitch class of the tempered scale, of unit norm: `[C, 12, frames]`."""
        import librosa

        per_octave = 36  # librosa's own choice for chroma
        found = self._constant_q(per_octave)
        return librosa.feature.chroma_cqt(C=found, fmin=LOWEST, bins_per_octave=per_octave, norm=2, tuning=0.0)

    def _constant_q(self, per_octave: int) -> np.ndarray:
        import librosa

        rate = max(self.sample_rate, 16000)  # the highest filters end above half of 8 kHz
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "n_fft=.* is too (large|small)")  # what is short is filled with silence
            found = librosa.cqt(
                resample_array(self.audio.numpy(), self.sample_rate, rate),
                sr=rate,
                fmin=LOWEST,
                n_bins=OCTAVES * per_octave,
                bins_per_octave=per_octave,
                tuning=0.0,
            )
        return np.abs(found)

    @cached_property
    def pitch(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the mix to mono, frame by frame: fundamental frequency in Hz, and whether there is one (pYIN)."""
        import librosa

        mono = resample_array(self.audio.mean(0).numpy(), self.sample_rate, PITCH_RATE)
        low, high = PITCH_RANGE
        f0, voiced, _ = librosa.pyin(mono, sr=PITCH_RATE, fmin=low, fmax=high, fill_na=None)
        return f0, voiced
