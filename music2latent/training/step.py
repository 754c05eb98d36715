"""The consistency training loss (improved consistency training, arXiv 2310.14189; the Music2Latent paper, section 3.3).

L = 1 / (sigma - sigma_next) * d(D(x + sigma n, sigma, z), stopgrad D(x + sigma_next n, sigma_next, z))
d(a, b) = sqrt(||a - b||^2 + c^2) - c,  c = 0.00054 sqrt(number of elements)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import spectrogram
from ..autoencoder import Autoencoder
from ..config import ModelConfig
from ..evaluation.metrics import SILENT
from .config import Recipe


def sigma_of(u: Tensor, config: ModelConfig) -> Tensor:
    """sigma(u) = (sigma_min^(1/rho) + u (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho for u in [0, 1]."""
    low, high = config.sigma_min ** (1 / config.rho), config.sigma_max ** (1 / config.rho)
    return (low + u * (high - low)) ** config.rho


def step_size(progress: float, recipe: Recipe) -> float:
    """Distance in u of a pair of noise levels: from first_step down to last_step, exponentially.

    With the published numbers it is 0.1^(1 + 2 k / K) at progress k / K.
    """
    return float(recipe.first_step * (recipe.last_step / recipe.first_step) ** progress)


def draw_sigmas(
    count: int, progress: float, config: ModelConfig, recipe: Recipe, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Noise levels (sigma, sigma_next), each `[count]` float64, sigma > sigma_next.

    u is one of `noise_levels` grid points, weighted by N(log sigma(u); P_mean, P_std), plus a jitter of one grid step.
    """
    grid, weights = _levels(recipe.noise_levels, recipe.P_mean, recipe.P_std, config)
    points = torch.multinomial(weights, count, replacement=True, generator=generator)
    jitter = torch.rand(count, dtype=torch.float64, generator=generator) / recipe.noise_levels
    u = grid[points] + jitter
    # u itself may lie below one step; then the neighbour is sigma_min, and the two must not meet.
    u = u.clamp(min=1e-6)
    return sigma_of(u, config), sigma_of((u - step_size(progress, recipe)).clamp(min=0), config)


@cache
def _levels(count: int, P_mean: float, P_std: float, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Grid points u and their weights, each `[count]`."""
    grid = torch.arange(count, dtype=torch.float64) / count
    return grid, torch.exp(-0.5 * ((sigma_of(grid, config).log() - P_mean) / P_std) ** 2)


def pseudo_huber(a: Tensor, b: Tensor) -> Tensor:
    """d(a, b) per item, `[B]`, over all other axes."""
    c = 0.00054 * math.sqrt(a[0].numel())
    return ((a - b).flatten(1).square().sum(1) + c**2).sqrt() - c


def spectral_distance(estimate: Tensor, reference: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Multi-resolution STFT distance of audio `[B, n]`, `[B]`: spectral convergence plus L1 of log magnitudes, mean
    over the window lengths (Parallel WaveGAN, arXiv 1910.11480, equations 4 to 6).

    Unlike there, convergence is relative to the louder of the two, so that no quiet crop outweighs a batch; and a floor
    is added to magnitudes, 100 dB under a full-scale tone: nobody hears what is below, yet it has a gradient.
    """
    total = reference.new_zeros(len(reference))
    for size in sizes:
        found = magnitudes(estimate, size)
        with torch.no_grad():
            wanted = magnitudes(reference, size)
            louder = torch.maximum(found.norm(dim=1), wanted.norm(dim=1)).clamp(min=SILENT)
        total = total + (found - wanted).norm(dim=1) / louder
        total = total + ((found + SILENT) / (wanted + SILENT)).log().abs().mean(1)
    return total / len(sizes)


def magnitudes(audio: Tensor, size: int) -> Tensor:
    """|STFT| of audio `[B, n]` over sqrt(size), `[B, frames * bins]`: Hann windows of `size`, a quarter of it apart.

    The gradient of frames taken by `unfold` costs less than that of `torch.stft`, which is the same otherwise.
    """
    window = torch.hann_window(size, device=audio.device) / math.sqrt(size)
    padded = F.pad(audio[:, None], (size // 2, size // 2), mode="reflect")[:, 0]
    return torch.fft.rfft(padded.unfold(1, size, size // 4) * window).abs().flatten(1)


@dataclass(frozen=True)
class Losses:
    """What one pass gives: the loss to descend, its parts, and the latents."""

    loss: Tensor
    consistency: Tensor
    spectral: Tensor
    latents: Tensor


class ConsistencyTraining(nn.Module):
    """The model with its loss, as one module: what runs in parallel and gets compiled."""

    def __init__(self, model: Autoencoder, recipe: Recipe) -> None:
        super().__init__()
        self.model = model
        self.recipe = recipe
        for name, parameter in model.decoder.bottleneck_layers.named_parameters():
            if (
                ".proj_emb." in name
            ):  # in the checkpoint, used by nothing; parallel training would wait for its gradient
                parameter.requires_grad_(False)

    def forward(self, audio: Tensor, sigma: Tensor, sigma_next: Tensor, noise: Tensor) -> Losses:
        """audio `[B, n]`, noise levels `[B]` float64, noise `[B, 2, F, T]` shared by student and target."""
        model, config = self.model, self.model.config
        with torch.no_grad():
            x = spectrogram.spectrogram(audio, config.hop_length)
        latents = model.encoder(x)
        pyramid = model.decoder(latents)
        consistency = spectral = audio.new_zeros(())
        if self.recipe.consistency_weight:
            weight = (1 / (sigma - sigma_next)).to(x.dtype)
            sigma, sigma_next = sigma.to(x.dtype), sigma_next.to(x.dtype)
            student = model.denoise(x + sigma[:, None, None, None] * noise, sigma, pyramid)
            with torch.no_grad():  # the same weights and latents; the gradient goes through the student alone
                noisy = x + sigma_next[:, None, None, None] * noise
                target = model.denoise(noisy, sigma_next, [p.detach() for p in pyramid])
            consistency = (weight * pseudo_huber(student, target)).mean()

        if self.recipe.spectral_weight:
            start = config.sigma_max * noise
            level = torch.full((len(x),), config.sigma_max, dtype=x.dtype, device=x.device)
            if second := round(self.recipe.spectral_second * len(x)):
                with torch.no_grad():  # each step is taught by itself, from what comes before it in sampling
                    first = model.denoise(start[:second], level[:second], [p[:second] for p in pyramid])
                level = torch.cat([sigma[:second].to(x.dtype), level[second:]])
                other = noise[:second].flip(-1)  # independent of what `first` was made of, and costs nothing
                start = torch.cat([first + level[:second, None, None, None] * other, start[second:]])
            clean = model.denoise(start, level, pyramid)
            decoded = spectrogram.overlap_add(spectrogram.synthesise(clean))
            inner = slice(config.edge, -config.edge)  # where nothing fades
            spectral = spectral_distance(decoded[:, inner], audio[:, inner], self.recipe.spectral_sizes).mean()
        loss = self.recipe.consistency_weight * consistency + self.recipe.spectral_weight * spectral
        return Losses(loss, consistency.detach(), spectral.detach(), latents.detach().float())


def initialise(model: Autoencoder, recipe: Recipe) -> None:
    """Variance-preserving convolutions, if the recipe asks for them; those that start at zero stay at zero.

    With the framework's default and a high learning rate the encoder collapses: tanh saturates, and the latents no
    longer depend on the input.
    """
    if recipe.init == "default":
        return
    for module in model.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d)) and bool(module.weight.any()):
            nn.init.normal_(module.weight, std=1 / math.sqrt(module.weight[0].numel()))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
