"""What is exported: an encoder that takes audio and a decoder that gives it, of operations that every runtime has.

They are traced, so sizes that vary are read from shapes and never counted in Python.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import spectrogram
from ..autoencoder import Autoencoder
from ..consistency import scalings
from ..nn.denoiser import Denoiser
from ..nn.layers import ResBlock
from .fourier import Fourier

Axes = dict[str, dict[int, str]]
"""Names of tensors, and of their axes whose sizes vary."""


class AudioEncoder(nn.Module):
    """Audio `[B, frame_size L + edge]` -> latents `[B, D, L]` of about unit variance."""

    inputs: Axes = {"audio": {0: "batch", 1: "samples"}}  # noqa: RUF012
    output: Axes = {"latents": {0: "batch", 2: "length"}}  # noqa: RUF012
    window: Tensor

    def __init__(self, model: Autoencoder, latent_scale: float) -> None:
        super().__init__()
        self.encoder, self.latent_scale = model.encoder, latent_scale
        self.hop_length = model.config.hop_length
        self.fourier = Fourier(model.config.n_fft)
        self.register_buffer("window", torch.hann_window(model.config.n_fft), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        hops = audio.reshape(audio.shape[0], -1, self.hop_length)
        segments = torch.cat([hops[:, :-3], hops[:, 1:-2], hops[:, 2:-1], hops[:, 3:]], dim=2)  # [B, T, n_fft]
        return self.encoder(spectrogram.compress(self.fourier(segments * self.window))) / self.latent_scale


class AudioDecoder(nn.Module):
    """Latents `[B, D, L]`, noise `[B, 2, F, T]` and weights `[B, T]` -> audio `[B, frame_size L + edge]`, in one step.

    T = columns_per_latent L. The noise is standard normal. Weights are those of the columns' segments of audio: ones,
    but where a chunk is faded into its neighbour (`ChunkPlan.weights`). Audio is not yet cut to [-1, 1], as that comes
    after the chunks are added up.
    """

    inputs: Axes = {  # noqa: RUF012
        "latents": {0: "batch", 2: "length"},
        "noise": {0: "batch", 3: "columns"},
        "weights": {0: "batch", 1: "columns"},
    }
    output: Axes = {"audio": {0: "batch", 1: "samples"}}  # noqa: RUF012
    window: Tensor
    c_noise: Tensor

    def __init__(self, model: Autoencoder, latent_scale: float) -> None:
        super().__init__()
        config = model.config
        sigma = torch.tensor([config.sigma_max])
        self.c_skip, self.c_out, self.c_in = (float(c) for c in scalings(sigma, config))
        self.register_buffer("c_noise", sigma.log() / 4, persistent=False)
        self.sigma, self.latent_scale, self.hop_length = config.sigma_max, latent_scale, config.hop_length
        self.upsampler, self.denoiser = model.decoder, _at_noise_level(model.denoiser, self.c_noise)
        self.fourier = Fourier(config.n_fft)
        window = spectrogram.synthesis_window(config.n_fft, torch.float32, torch.device("cpu"))
        self.register_buffer("window", window, persistent=False)

    def forward(self, latents: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
        pyramid = self.upsampler(latents * self.latent_scale)
        x = self.sigma * noise
        clean = self.c_skip * x + self.c_out * self.denoiser(self.c_in * x, self.c_noise, pyramid)
        segments = self.fourier.inverse(spectrogram.expand(clean)) * self.window * weights[:, :, None]
        batch, columns, _ = segments.shape
        hops = segments.reshape(batch, columns, 4, self.hop_length)
        # Segment t is four hops long; its k-th hop lands at hop t + k.
        first, second, third, fourth = (F.pad(hops[:, :, k], (0, 0, k, 3 - k)) for k in range(4))
        return (first + second + third + fourth).flatten(1)


Network = AudioEncoder | AudioDecoder


class _Constant(nn.Module):
    """One value, whatever comes."""

    value: Tensor

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("value", value.clone(), persistent=False)

    def forward(self, _: Tensor) -> Tensor:
        return self.value


@torch.no_grad()
def _at_noise_level(denoiser: Denoiser, c_noise: Tensor) -> Denoiser:
    """A copy for one noise level `[1]`: what is computed from the level alone becomes constants, and what blocks add to
    every position becomes part of a bias."""
    fixed: Denoiser = copy.deepcopy(denoiser)
    e = denoiser.embed(c_noise)
    embedding = denoiser.emb_proj(e)
    for name, value in {"embed": e, "emb_proj": embedding}.items():
        setattr(fixed, name, _Constant(value))
    for name in ("scale_inp", "scale_out"):
        setattr(fixed, name, _Constant(getattr(denoiser, name)(e)))
    for block in fixed.modules():
        if isinstance(block, ResBlock) and block.proj_emb is not None and block.conv1.bias is not None:
            block.conv1.bias += block.proj_emb(embedding)[0]
            block.proj_emb = None
    return fixed
