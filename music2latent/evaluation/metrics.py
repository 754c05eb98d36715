"""How far a reconstruction is from its original: functions of two pieces of audio `[C, n]`, means over channels.

Libraries compute them (extra `evaluate`), but for the log-spectral distance, which training validates with (`stft`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from ..resampling import resample_array
from ..stft import log_spectral_distance


def si_sdr(estimate: Tensor, reference: Tensor, sample_rate: int) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (arXiv 1811.02508)."""
    from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

    return float(scale_invariant_signal_distortion_ratio(estimate, reference).mean())


def multi_resolution_stft(estimate: Tensor, reference: Tensor, sample_rate: int) -> float:
    """Spectral convergence plus L1 of log magnitudes at three resolutions (arXiv 1910.11480, auraloss' defaults)."""
    return float(_stft_loss()(estimate[:, None], reference[:, None]))


def mel_distance(estimate: Tensor, reference: Tensor, sample_rate: int) -> float:
    """Mean difference of 80 mel bands in dB, down to 80 dB under the reference's loudest."""
    import librosa

    one, two = (
        librosa.feature.melspectrogram(y=x.numpy(), sr=sample_rate, n_fft=2048, hop_length=512, n_mels=80)
        for x in (estimate, reference)
    )
    floor = max(float(two.max()) * 1e-8, 1e-10)
    return float(np.abs(10 * np.log10(np.maximum(one, floor) / np.maximum(two, floor))).mean())


def loudness_difference(estimate: Tensor, reference: Tensor, sample_rate: int) -> float:
    """Integrated loudness (ITU-R BS.1770-4) of the reconstruction minus that of the original, in LU.

    NaN under 0.4 s, where it is not defined, and where one is silent.
    """
    if reference.shape[-1] < 0.4 * sample_rate:
        return math.nan
    import pyloudnorm

    meter = pyloudnorm.Meter(sample_rate)
    one, two = (meter.integrated_loudness(x.T.numpy()) for x in (estimate, reference))
    return one - two if math.isfinite(one) and math.isfinite(two) else math.nan


def visqol(estimate: Tensor, reference: Tensor, sample_rate: int) -> float:
    """ViSQOL v3 in audio mode, MOS from 1 to 5, on the mix to mono at 48 kHz. NaN where it finds nothing to compare."""
    arrays = [resample_array(x.mean(0).double().numpy(), sample_rate, 48000) for x in (reference, estimate)]
    try:
        return float(_visqol().measure_from_arrays(*arrays, 48000).moslqo)
    except (ValueError, RuntimeError, IndexError):  # too short or silent
        return math.nan


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of `evaluate`: how it is called, measured in, computed, and which way is better."""

    title: str
    unit: str
    better: str
    measure: Callable[[Tensor, Tensor, int], float]


METRICS: dict[str, Metric] = {
    "si_sdr": Metric(title="SI-SDR", unit="dB", better="higher", measure=si_sdr),
    "log_spectral_distance": Metric(
        title="log-spectral distance",
        unit="dB",
        better="lower",
        measure=lambda a, b, rate: float(log_spectral_distance(a, b).mean()),
    ),
    "multi_resolution_stft": Metric(
        title="multi-resolution STFT", unit="", better="lower", measure=multi_resolution_stft
    ),
    "mel_distance": Metric(title="mel distance", unit="dB", better="lower", measure=mel_distance),
    "loudness_difference": Metric(
        title="loudness difference", unit="LU", better="nearer 0", measure=loudness_difference
    ),
    "visqol": Metric(title="ViSQOL", unit="MOS", better="higher", measure=visqol),
}


def measure(estimate: Tensor, reference: Tensor, sample_rate: int) -> dict[str, float]:
    """All metrics of one reconstruction, audio `[C, n]` of one shape."""
    return {name: metric.measure(estimate, reference, sample_rate) for name, metric in METRICS.items()}


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
