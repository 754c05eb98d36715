"""`BatchCoding`: batches of signals to latents and back, every sample kept, with gradients, on the signals' device.

The codec's `encode` and `decode` leave the ends out, and its `compress` and `decompress` take one signal at a time,
without gradients; the frameworks here want all of it. The arithmetic is that of `compress` and `decompress`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .. import spectrogram
from ..autoencoder import Autoencoder
from ..chunk_coding import decode_batch
from ..chunks import ChunkPlan, decoder_overlap, encoder_context
from ..codec import CHUNK_SECONDS


@dataclass(frozen=True, kw_only=True)
class BatchCoding:
    """A model, and how signals are laid out for it."""

    model: Autoencoder
    latent_scale: float
    """Latents are the network's tanh output divided by this."""
    chunk_plan: ChunkPlan | None
    """The model's own chunks (`Checkpoint.chunk_plan`); None stands for overlapping chunks of ten seconds."""
    lead: int
    """Mirrored samples that go before a signal; at least as many follow it.

    `config.edge` gives what `compress` gives: samples next to the ends lie in as many segments as all others. Half of
    it gives exactly one latent per frame, centred on it: next to the ends, samples lie in two to four segments.
    """

    def num_latents(self, num_samples: int) -> int:
        """Latents that a signal becomes."""
        config = self.model.config
        return -(-(num_samples + 2 * self.lead - config.edge) // config.frame_size)

    def num_samples(self, num_latents: int) -> int:
        """The longest signal that becomes so many latents."""
        config = self.model.config
        return num_latents * config.frame_size + config.edge - 2 * self.lead

    def encode(self, samples: Tensor) -> Tensor:
        """samples `[N, n]` float32 -> latents `[N, D, L]` of about unit variance, L = `num_latents(n)`."""
        config = self.model.config
        num_samples = samples.shape[-1]
        num_latents = self.num_latents(num_samples)
        places = torch.arange(num_latents * config.frame_size + config.edge, device=samples.device) - self.lead
        places %= 2 * num_samples  # the signal, then the signal backwards, over and over
        padded = samples[:, places.minimum(2 * num_samples - 1 - places)]
        plan = self._plan(encoder_context(config))
        latents = samples.new_zeros(len(samples), config.latent_dim, num_latents)
        for start, stop in plan.spans(num_latents):
            chunk = padded[:, start * config.frame_size : stop * config.frame_size + config.edge]
            values = self.model.encode(spectrogram.segment(chunk, config.hop_length))
            weights = plan.weights(stop - start, first=start == 0, last=stop == num_latents)
            latents[..., start:stop] += values * weights.to(values.device)
        return latents / self.latent_scale

    def decode(self, latents: Tensor, num_samples: int, *, num_steps: int, seed: int) -> Tensor:
        """latents `[N, D, L]` -> `[N, num_samples]` float32 in [-1, 1], at most `self.num_samples(L)`."""
        config = self.model.config
        plan = self._plan(decoder_overlap(config))
        scaled = latents.to(self.model.device, torch.float32) * self.latent_scale
        audio = decode_batch(self.model, scaled, plan, len(latents), num_steps=num_steps, seed=seed, noise=None)
        kept = slice(self.lead, self.lead + num_samples)
        coverage = _coverage(config.n_fft, latents.shape[-1] * config.columns_per_latent)
        return (audio[:, kept] / coverage[kept]).clamp(-1, 1).to(latents.device)

    def _plan(self, overlap: int) -> ChunkPlan:
        return self.chunk_plan or ChunkPlan(round(CHUNK_SECONDS * self.model.config.frame_rate), overlap)


def _coverage(n_fft: int, columns: int) -> Tensor:
    """What `spectrogram.overlap_add` of so many columns makes of a constant 1: less near the ends. `[n]`"""
    energy = torch.hann_window(n_fft, periodic=True).square().view(4, -1)
    shares = energy / energy.sum(0)
    return spectrogram.overlap_add(shares.flatten().expand(1, columns, n_fft))[0]
