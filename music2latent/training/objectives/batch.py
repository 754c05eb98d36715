"""What objectives are given, and what they give."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from ... import spectrogram
from ...autoencoder import Autoencoder
from ...config import ModelConfig
from ...stft import magnitudes


class Stage(IntEnum):
    """How far a batch has come."""

    FEATURES = 1
    LATENTS = 2
    TONES = 3
    PYRAMID = 4
    AUDIO = 5


class Head(nn.Module, ABC):
    """What an objective looks at the model with, and what is fitted as the model is trained: by itself, not by the
    loss. It is saved with the run, in tensors, and not part of the model."""

    @abstractmethod
    def learn(self, mean: Callable[[Tensor], Tensor] = lambda own: own) -> None:
        """Fit it to what it was given since the last time; `mean` is that over all processes."""

    @abstractmethod
    def forget(self) -> None:
        """Leave out what it was given since the last time."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch of crops, noise for it, and what the encoder made of it, with gradients."""

    model: Autoencoder
    audio: Tensor
    """`[B, n]`"""
    x: Tensor
    """Its spectrogram, `[B, 2, F, T]`."""
    features: Tensor
    """The encoder's, `[B, feature_dim, L]`."""
    latents: Tensor
    """`[B, D, L]` in (-1, 1)."""
    latent_noise: Tensor | None = None
    """Noise that is added to the latents before they are decoded, `[B, D, L]`."""
    latent_mask: Tensor | None = None
    """1 for channels that are decoded, 0 for others, `[B, D, 1]`."""
    heads: Mapping[str, Head] = field(default_factory=dict)
    """What objectives look at the model with, by the objective's name."""
    sigma: Tensor
    """Noise levels, `[B]` float64, on the processor: Apple's GPUs have no such numbers."""
    sigma_next: Tensor
    """The next lower levels, `[B]` float64."""
    noise: Tensor
    """Standard normal, `[B, 2, F, T]`."""

    @cached_property
    def pyramid(self) -> list[Tensor]:
        """The upsampler's maps. Not computed where objectives look at the latents alone."""
        latents = self.latents if self.latent_noise is None else self.latents + self.latent_noise
        return self.model.decoder(latents if self.latent_mask is None else latents * self.latent_mask)

    @cached_property
    def decoded(self) -> Tensor:
        """The audio that one step from sigma_max gives, `[B, n - 2 edge]`. Computed once, whatever the number of
        objectives that look at it."""
        return self._decoded(self.noise)

    @cached_property
    def decoded_again(self) -> Tensor:
        """The same with other noise; mirrored in time it is independent, and costs nothing."""
        return self._decoded(self.noise.flip(-1))

    def _decoded(self, noise: Tensor) -> Tensor:
        sigma_max = self.model.config.sigma_max
        level = noise.new_full((len(noise),), sigma_max)
        return self.audio_of(self.model.denoise(sigma_max * noise, level, self.pyramid))

    @property
    def original(self) -> Tensor:
        """The same part of the original."""
        return self._inner(self.audio)

    def magnitudes(self, n_fft: int) -> tuple[Tensor, Tensor]:
        """`stft.magnitudes` of the decoded audio and of the original, `[B, T, F]` each. Computed once as well."""
        if n_fft not in self._magnitudes:
            self._magnitudes[n_fft] = (
                magnitudes(self.decoded, n_fft, pad=True),
                magnitudes(self.original, n_fft, pad=True),
            )
        return self._magnitudes[n_fft]

    @cached_property
    def _magnitudes(self) -> dict[int, tuple[Tensor, Tensor]]:
        return {}

    def audio_of(self, clean: Tensor) -> Tensor:
        """The audio of spectrograms `[B, 2, F, T]`, where nothing fades."""
        return self._inner(spectrogram.overlap_add(spectrogram.synthesise(clean)))

    def _inner(self, audio: Tensor) -> Tensor:
        return audio[:, self.model.config.edge : -self.model.config.edge]


class Objective(Protocol):
    """A term of the training loss."""

    looks_at: ClassVar[Stage]
    """What is computed for it, and so what it can teach."""

    @property
    def weight(self) -> float:
        """Factor on its loss; 0 leaves it out."""

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, a scalar, and figures to log by name."""


@runtime_checkable
class Headed(Protocol):
    """An objective that looks at the model with something that learns too."""

    def head(self, config: ModelConfig) -> Head:
        """A new one, for a model of this configuration; `Batch.heads` has it."""
