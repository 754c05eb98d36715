"""The consistency function D and sampling with it (consistency models, arXiv 2303.01469 and 2310.14189).

    D(x, sigma) = c_skip(sigma) x + c_out(sigma) F(c_in(sigma) x, log(sigma) / 4)

F is the denoiser network. At sigma = sigma_min, c_skip is 1 and c_out is 0: D is the identity, exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .config import ModelConfig
from .noise import renoise_scale, sigma_levels

Network = Callable[[Tensor, Tensor, list[Tensor]], Tensor]
"""`nn.Denoiser`, or what it was compiled to."""


def scalings(sigma: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out, c_in for noise levels sigma, each of sigma's shape (arXiv 2310.14189, section 2)."""
    sigma_data, above_min = config.sigma_data, sigma - config.sigma_min
    norm = (sigma**2 + sigma_data**2).sqrt()
    c_skip = sigma_data**2 / (above_min**2 + sigma_data**2)
    c_out = sigma_data * above_min / norm
    return c_skip, c_out, 1 / norm


def denoise(network: Network, x: Tensor, sigma: Tensor, pyramid: list[Tensor], config: ModelConfig) -> Tensor:
    """D(x, sigma): noisy spectrogram `[B, 2, F, T]` at levels sigma `[B]` -> clean spectrogram, in x's dtype.

    The network runs in the dtype of the pyramid; the scalings stay in x's, because c_skip x spans 80 to 0.002.
    """
    c_skip, c_out, c_in = (c[:, None, None, None] for c in scalings(sigma, config))
    raw = network((c_in * x).to(pyramid[0].dtype), sigma.log() / 4, pyramid)
    return c_skip * x + c_out * raw.to(x.dtype)


def sample(
    network: Network,
    pyramid: list[Tensor],
    draw: Callable[[int], Tensor],
    config: ModelConfig,
    num_steps: int = 1,
) -> Tensor:
    """Multistep consistency sampling (arXiv 2303.01469, algorithm 1) -> spectrogram `[B, 2, F, T]`.

    `draw(step)` gives standard normal noise of that shape for step 0 (the start) to num_steps (the last,
    which is multiplied by zero: it only moves a caller's stream on, as the official system does).
    """
    levels = sigma_levels(config, num_steps)
    x = levels[0] * draw(0)
    for step, sigma in enumerate(levels[:-1]):
        clean = denoise(network, x, torch.full((len(x),), sigma, device=x.device, dtype=x.dtype), pyramid, config)
        x = clean + renoise_scale(levels[step + 1], config.sigma_min) * draw(step + 1)
    return clean
