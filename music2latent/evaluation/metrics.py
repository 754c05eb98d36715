"""How far a reconstruction is from its original: functions of two pieces of audio `[C, n]`, means over channels.

What libraries compute they compute (extra `evaluate`); the log-spectral distance is a few lines of PyTorch, and what
training validates with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import missing_extra

SILENT = 1e-4
"""Magnitudes below this part of a window's energy count as it: 100 dB under a full-scale tone, nobody hears them."""


def log_spectral_distance(estimate: Tensor, reference: Tensor, n_fft: int = 2048) -> Tensor:
    """Root mean square over bins of the difference of levels in dB, mean over frames, `[C]` (Gray and Markel 1976)."""
    window = torch.hann_window(n_fft, device=reference.device)
    one, two = (
        20 * (_stft(x, window).abs() / math.sqrt(n_fft)).clamp(min=SILENT).log10() for x in (estimate, reference)
    )
    return (one - two).square().mean(1).sqrt().mean(1)


def _stft(x: Tensor, window: Tensor) -> Tensor:
    size = len(window)
    return torch.stft(x, size, size // 4, window=window, center=x.shape[-1] < size, return_complex=True)


def si_sdr(estimate: Tensor, reference: Tensor, sample_rate: int) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (arXiv 1811.02508)."""
    functional = _library("torchmetrics.functional.audio")
    return float(functional.scale_invariant_signal_distortion_ratio(estimate, reference).mean())


def multi_resolution_stft(estimate: Tensor, reference: Tensor, sample_rate: int) -> float:
    """Spectral convergence plus L1 of log magnitudes at three resolutions (arXiv 1910.11480, auraloss' defaults)."""
    return float(_stft_loss()(estimate[:, None], reference[:, None]))


def mel_distance(estimate: Tensor, reference: Tensor, sample_rate: int) -> float:
    """Mean difference of 80 mel bands in dB, down to 80 dB under the reference's loudest."""
    librosa = _library("librosa")
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
    meter = _library("pyloudnorm").Meter(sample_rate)
    one, two = (meter.integrated_loudness(x.T.numpy()) for x in (estimate, reference))
    return one - two if math.isfinite(one) and math.isfinite(two) else math.nan


def visqol(estimate: Tensor, reference: Tensor, sample_rate: int) -> float:
    """ViSQOL v3 in audio mode, MOS from 1 to 5, on the mix to mono at 48 kHz. NaN where it finds nothing to compare."""
    import soxr

    arrays = [
        soxr.resample(x.mean(0).double().numpy(), sample_rate, 48000, quality="VHQ") for x in (reference, estimate)
    ]
    try:
        return float(_visqol().measure_from_arrays(*arrays, 48000).moslqo)
    except (ValueError, RuntimeError, IndexError):  # too short or silent
        return math.nan


@dataclass(frozen=True)
class Metric:
    """A figure of `evaluate`: how it is called, measured in, computed, and which way is better."""

    title: str
    unit: str
    better: str
    measure: Callable[[Tensor, Tensor, int], float]


METRICS: dict[str, Metric] = {
    "si_sdr": Metric("SI-SDR", "dB", "higher", si_sdr),
    "log_spectral_distance": Metric(
        "log-spectral distance", "dB", "lower", lambda a, b, rate: float(log_spectral_distance(a, b).mean())
    ),
    "multi_resolution_stft": Metric("multi-resolution STFT", "", "lower", multi_resolution_stft),
    "mel_distance": Metric("mel distance", "dB", "lower", mel_distance),
    "loudness_difference": Metric("loudness difference", "LU", "nearer 0", loudness_difference),
    "visqol": Metric("ViSQOL", "MOS", "higher", visqol),
}


def measure(estimate: Tensor, reference: Tensor, sample_rate: int) -> dict[str, float]:
    """All metrics of one reconstruction, audio `[C, n]` of one shape.

    Raises:
        InputError: a package of the extra `evaluate` is missing.
    """
    return {name: metric.measure(estimate, reference, sample_rate) for name, metric in METRICS.items()}


def _library(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise missing_extra(name.partition(".")[0], "evaluate", "evaluation") from error


@cache
def _stft_loss() -> Any:
    return _library("auraloss.freq").MultiResolutionSTFTLoss()


@cache
def _visqol() -> Any:
    api = _library("visqol").VisqolApi()
    api.create(mode="audio")
    return api
