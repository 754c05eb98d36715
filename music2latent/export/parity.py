"""Whether an exported file computes what the package does, at lengths that it was not traced at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .. import spectrogram
from ..autoencoder import Autoencoder
from ..config import ModelConfig
from ..errors import InputError

Run = Callable[..., np.ndarray]
"""An exported network, from arrays to an array."""

TRACED = (2, 5)
"""Batch and length in latents of the example that networks are traced with."""
CHECKED = ((1, 1), (3, 4), (1, 19))
"""Batches and lengths that are compared."""
TOLERANCE = 1e-3
"""Greatest norm of a difference, relative. Float32 gives 1e-5; a length that was baked in, or another operation, more
than 0.1."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Errors at one length."""

    batch: int
    length: int
    encode: float
    decode: float

    def __str__(self) -> str:
        return f"{self.batch} x {self.length} latents: encode {self.encode:.1e}, decode {self.decode:.1e}"


def example(config: ModelConfig, batch: int, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Audio, latents, noise and weights of a length in latents: decaying tones over noise, and random numbers."""
    generator = torch.Generator().manual_seed(length)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    time = torch.arange(length * config.frame_size + config.edge) / config.sample_rate
    tones = sum((440 * k * torch.pi * time).sin() * (-3 * k * time).exp() / k for k in range(1, 6))
    columns = length * config.columns_per_latent
    return (
        0.2 * tones + 0.05 * normal(batch, len(time)),
        normal(batch, config.latent_dim, length),
        normal(batch, 2, config.bins, columns),
        torch.rand(batch, columns, generator=generator),
    )


@torch.no_grad()
def check(model: Autoencoder, latent_scale: float, encode: Run, decode: Run) -> list[Parity]:
    """Compare both with the package's own computation with the same weights.

    Raises:
        InputError: an error above `TOLERANCE`.
    """
    found = []
    for batch, length in CHECKED:
        audio, latents, noise, weights = example(model.config, batch, length)
        encoded = model.encode(spectrogram.segment(audio, model.config.hop_length)) / latent_scale
        segments = spectrogram.synthesise(model.decode(latents * latent_scale, _always(noise)))
        decoded = spectrogram.overlap_add(segments * weights[:, :, None])
        errors = {
            "encode": _relative(encode(audio.numpy()), encoded.numpy()),
            "decode": _relative(decode(latents.numpy(), noise.numpy(), weights.numpy()), decoded.numpy()),
        }
        found.append(Parity(batch=batch, length=length, **errors))
    if worst := [one for one in found if not (one.encode <= TOLERANCE and one.decode <= TOLERANCE)]:
        raise InputError(f"the exported networks differ from the model's, {worst[0]}; accepted: {TOLERANCE:g}")
    return found


def _always(noise: Tensor) -> Callable[[int], Tensor]:
    return lambda _: noise


def _relative(got: np.ndarray, expected: np.ndarray) -> float:
    if got.shape != expected.shape:
        return float("inf")
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
