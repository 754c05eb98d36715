"""How far a reconstruction is from its original: functions of two sounds of one shape, means over channels.

Libraries compute them (extra `evaluate`), but for the log-spectral distance, which training validates with (`stft`).
Distances over all bins of a spectrogram count the floor between partials as much as the partials, so that a smooth
envelope does well in them; the tonal figures tell it from music.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..resampling import resample_array
from ..stft import log_spectral_distance, magnitudes
from .sound import Sound

VOICED = 0.5
"""Of its time, at least, an original must be voiced for figures of pitch; noise is for a quarter."""


def si_sdr(estimate: Sound, reference: Sound) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (arXiv 1811.02508)."""
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    return float(scale_invariant_signal_distortion_ratio(estimate.audio, reference.audio).mean())


def log_spectral(estimate: Sound, reference: Sound) -> float:
    """Log-spectral distance in dB, see `stft.log_spectral_distance`."""
    return float(log_spectral_distance(estimate.audio, reference.audio).mean())


def multi_resolution_stft(estimate: Sound, reference: Sound) -> float:
    """Spectral convergence plus L1 of log magnitudes at three resolutions (arXiv 1910.11480, auraloss' defaults)."""
    return float(_stft_loss()(estimate.audio[:, None], reference.audio[:, None]))


def mel_distance(estimate: Sound, reference: Sound) -> float:
    """Mean difference of 80 mel bands in dB, down to 80 dB under the reference's loudest."""
    import librosa

    one, two = (
        librosa.feature.melspectrogram(y=x.audio.numpy(), sr=x.sample_rate, n_fft=2048, hop_length=512, n_mels=80)
        for x in (estimate, reference)
    )
    return _level_difference(one**0.5, two**0.5)


def _level_difference(estimate: np.ndarray, reference: np.ndarray) -> float:
    """Mean difference of magnitudes in dB, down to 80 dB under the reference's loudest."""
    floor = max(float(reference.max()) * 1e-4, 1e-5)
    return float(np.abs(20 * np.log10(np.maximum(estimate, floor) / np.maximum(reference, floor))).mean())


def loudness_difference(estimate: Sound, reference: Sound) -> float:
    """Integrated loudness (ITU-R BS.1770-4) of the reconstruction minus that of the original, in LU.

    NaN under 0.4 s and of more than five channels, where it is not defined, and where one is silent.
    """
    channels, num_samples = reference.audio.shape
    if channels > 5 or num_samples < 0.4 * reference.sample_rate:
        return math.nan
    import pyloudnorm

    meter = pyloudnorm.Meter(reference.sample_rate)
    one, two = (meter.integrated_loudness(x.audio.T.numpy()) for x in (estimate, reference))
    return one - two if math.isfinite(one) and math.isfinite(two) else math.nan


def visqol(estimate: Sound, reference: Sound) -> float:
    """ViSQOL v3 in audio mode, MOS from 1 to 5, on the mix to mono at 48 kHz. NaN where it finds nothing to compare."""
    arrays = [resample_array(x.audio.mean(0).double().numpy(), x.sample_rate, 48000) for x in (reference, estimate)]
    try:
        return float(_visqol().measure_from_arrays(*arrays, 48000).moslqo)
    except (ValueError, RuntimeError, IndexError):  # too short or silent
        return math.nan


def chroma_cosine(estimate: Sound, reference: Sound) -> float:
    """Mean cosine between the two's magnitudes per pitch class, over times when the original sounds (80 dB under its
    loudest and up). NaN for silence."""
    level = np.linalg.norm(reference.constant_q, axis=-2)
    heard = level > max(float(level.max()) * 1e-4, 1e-5)
    cosine = (estimate.chroma * reference.chroma).sum(-2)
    return float(cosine[heard].mean()) if heard.any() else math.nan


def constant_q_difference(estimate: Sound, reference: Sound) -> float:
    """Mean difference of semitones' levels, C1 to B7, in dB, down to 80 dB under the reference's loudest."""
    return _level_difference(estimate.constant_q, reference.constant_q)


def spectral_convergence(estimate: Sound, reference: Sound) -> float:
    """Norm of the difference of magnitudes relative to that of the reference (arXiv 1808.06719, equation 1), in windows
    of 8192 samples, which tell partials apart. NaN for silence."""
    one, two = (magnitudes(x.audio, 8192, pad=True).flatten(1) for x in (estimate, reference))
    norm = two.norm(dim=1)
    return float(((one - two).norm(dim=1) / norm)[norm > 0].mean())


def f0_error(estimate: Sound, reference: Sound) -> float:
    """Median difference of the fundamental frequency in cents, where both are voiced (pYIN, in steps of 10 cents).

    NaN where the original is voiced for less than half of its time, or where both are voiced at no time. It says most
    of speech and single instruments; of several at once, what pYIN makes of them.
    """
    (one, voiced), (two, wanted) = estimate.pitch, reference.pitch
    both = voiced & wanted
    if not both.any() or wanted.mean() < VOICED:
        return math.nan
    return float(np.median(np.abs(1200 * np.log2(one[both] / two[both]))))


def voicing_error(estimate: Sound, reference: Sound) -> float:
    """Part of the time, in percent, in which one of the two is voiced and the other is not. NaN as in `f0_error`."""
    voiced, wanted = estimate.pitch[1], reference.pitch[1]
    return float(100 * np.mean(voiced != wanted)) if wanted.mean() >= VOICED else math.nan


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of `evaluate`: how it is called, measured in, computed, and which way is better."""

    title: str
    unit: str = ""
    better: str
    measure: Callable[[Sound, Sound], float]

    @property
    def heading(self) -> str:
        """Of a column or a row."""
        return f"{self.title}{f' ({self.unit})' if self.unit else ''}, {self.better}"


DISTANCES: dict[str, Metric] = {
    "si_sdr": Metric(title="SI-SDR", unit="dB", better="higher", measure=si_sdr),
    "log_spectral_distance": Metric(title="log-spectral distance", unit="dB", better="lower", measure=log_spectral),
    "multi_resolution_stft": Metric(title="multi-resolution STFT", better="lower", measure=multi_resolution_stft),
    "mel_distance": Metric(title="mel distance", unit="dB", better="lower", measure=mel_distance),
    "loudness_difference": Metric(
        title="loudness difference", unit="LU", better="nearer 0", measure=loudness_difference
    ),
    "visqol": Metric(title="ViSQOL", unit="MOS", better="higher", measure=visqol),
}

TONAL: dict[str, Metric] = {
    "chroma_cosine": Metric(title="chroma cosine", better="higher", measure=chroma_cosine),
    "constant_q_difference": Metric(
        title="constant-Q difference", unit="dB", better="lower", measure=constant_q_difference
    ),
    "spectral_convergence": Metric(title="spectral convergence, 8192", better="lower", measure=spectral_convergence),
    "f0_error": Metric(title="f0 error", unit="cents", better="lower", measure=f0_error),
    "voicing_error": Metric(title="voicing error", unit="%", better="lower", measure=voicing_error),
}

METRICS = TONAL | DISTANCES


def measure(estimate: Sound, reference: Sound) -> dict[str, float]:
    """All metrics of one reconstruction."""
    return {name: metric.measure(estimate, reference) for name, metric in METRICS.items()}


@cache
def _stft_loss() -> Any:
    from auraloss.freq import MultiResolutionSTFTLoss

    return MultiResolutionSTFTLoss()


@cache
def _visqol() -> Any:
    from visqol import VisqolApi

    api = VisqolApi()
    api.create(mode="audio")
    return api
