"""Fixed validation clips: what the averaged weights make of them, in figures, sound and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from .. import spectrogram
from ..autoencoder import Autoencoder
from ..noise import keyed_noise
from ..stft import log_spectral_distance
from .config import TrainingConfig
from .data import AudioFolder, Crops
from .objectives.spectral import Spectral, spectral_distance

CLIPS = 64
"""Crops that are measured; the first few are kept to look at and listen to."""
SHOWN = 4


@dataclass(frozen=True)
class Validated:
    """Figures over all clips, and the first few clips before and after, `[SHOWN, n]`."""

    metrics: dict[str, float]
    originals: Tensor
    reconstructions: Tensor


class Validation:
    """The clips: always the same crops of the validation files, and the same noise."""

    def __init__(self, folder: AudioFolder, config: TrainingConfig) -> None:
        self.config = config
        crops = Crops([folder], config.model.sample_rate, config.crop_samples, seed=0, min_rms=config.recipe.min_rms)
        self.audio = torch.stack([crops[index] for index in range(CLIPS)])

    @torch.no_grad()
    def measure(self, model: Autoencoder) -> Validated:
        """Encode and decode every clip in one step."""
        config = self.config.model
        length = self.config.recipe.crop_columns // config.columns_per_latent
        noise = keyed_noise(0, 0, 0, length, config)[None].to(model.device)
        decoded = []
        for clip in self.audio.split(1):
            latents = model.encode(spectrogram.segment(clip.to(model.device), config.hop_length))
            decoded.append(spectrogram.inverse(model.decode(latents, lambda step: noise)).cpu())
        reconstructed = torch.cat(decoded)
        inner = slice(config.edge, -config.edge)
        before, after = self.audio[:, inner], reconstructed[:, inner]
        spectral = self.config.objectives.get("spectral", Spectral())
        sizes = tuple(size for size in cast(Spectral, spectral).sizes if size <= before.shape[1])
        distance = spectral_distance(after, before, sizes or (config.n_fft,)).mean()
        metrics = {
            "log_spectral_distance": float(log_spectral_distance(after, before, config.n_fft).mean()),
            "spectral_distance": float(distance),
        }
        return Validated(metrics, self.audio[:SHOWN], reconstructed[:SHOWN])
