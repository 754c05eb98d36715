"""The autoencoder: three networks, the spectrogram and the consistency function put together. One window at a time;
windows over long signals are the codec's business."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from . import consistency, spectrogram
from .config import ModelConfig
from .nn.denoiser import Denoiser
from .nn.encoder import Encoder
from .nn.upsampler import Upsampler


class Autoencoder(nn.Module):
    """Its state dict has the published keys in the published order: `encoder.*`, `decoder.*` (the upsampler), and the
    denoiser's layers at the top level.

    Latents here are the tanh output in (-1, 1); the codec scales them to unit variance.
    """

    denoiser: Denoiser

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Upsampler(config)
        denoiser = Denoiser(config)
        for name, module in denoiser.named_children():
            self.add_module(name, module)
        # The same layers under one name for calling them, hidden from registration: each has one key only.
        self.__dict__["denoiser"] = denoiser

    @property
    def sample_rate(self) -> int:
        """Rate in Hz that the model was trained at."""
        return self.config.sample_rate

    @property
    def latent_dim(self) -> int:
        """Channels of the latents."""
        return self.config.latent_dim

    @property
    def frame_size(self) -> int:
        """Samples per latent."""
        return self.config.frame_size

    @property
    def frame_rate(self) -> float:
        """Latents per second."""
        return self.config.sample_rate / self.config.frame_size

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoder.gain.scale.device

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in."""
        return self.encoder.gain.scale.dtype

    def compile_networks(self) -> None:
        """Compile the networks for the calls that say `fixed`: with inputs of a shape that will come often.

        Every such shape is compiled once, which takes from seconds to minutes; on a GPU the result is a CUDA graph.
        """
        networks = (self.encoder, self.decoder, self.denoiser)
        self.__dict__["_compiled"] = {network: _compiled(network) for network in networks}

    def _network(self, network: nn.Module, fixed: bool) -> Callable[..., Any]:
        compiled: dict[nn.Module, Callable[..., Any]] = self.__dict__.get("_compiled", {})
        return compiled.get(network, network) if fixed and not torch.is_grad_enabled() else network

    def encode(self, frames: Tensor, *, fixed: bool = False) -> Tensor:
        """audio frames `[B, T, n_fft]` (`spectrogram.frame`) -> latents `[B, D, T / frames_per_latent]` in (-1, 1)."""
        return self._network(self.encoder, fixed)(spectrogram.analyse(frames).to(self.dtype)).to(frames.dtype)

    def encode_features(self, frames: Tensor) -> Tensor:
        """audio frames `[B, T, n_fft]` -> the encoder's features `[B, feature_dim, T / frames_per_latent]`."""
        return self.encoder.features(spectrogram.analyse(frames).to(self.dtype)).to(frames.dtype)

    def denoise(self, x: Tensor, sigma: Tensor, pyramid: list[Tensor]) -> Tensor:
        """The consistency function D(x, sigma | pyramid), see `consistency.denoise`."""
        return consistency.denoise(self.denoiser, x, sigma, pyramid, self.config)

    def decode(
        self, latents: Tensor, draw: Callable[[int], Tensor], num_steps: int = 1, *, fixed: bool = False
    ) -> Tensor:
        """latents `[B, D, L]` in (-1, 1) -> spectrogram `[B, 2, F, T]`; `draw` as in `consistency.sample`."""
        pyramid = self._network(self.decoder, fixed)(latents.to(self.dtype))
        return consistency.sample(self._network(self.denoiser, fixed), pyramid, draw, self.config, num_steps)


def _compiled(network: nn.Module) -> Callable[..., Any]:
    compiled = torch.compile(network, mode="reduce-overhead", dynamic=False, fullgraph=True)

    def run(*inputs: Any) -> Any:
        output = compiled(*inputs)
        # A CUDA graph writes its next result over this one, and some of these are still needed then.
        return [level.clone() for level in output] if isinstance(output, list) else output.clone()

    return run


@cache
def parameter_shapes(config: ModelConfig) -> dict[str, torch.Size]:
    """Names and shapes of a model's weights, in the published order, which averaged weights rely on."""
    with torch.device("meta"):
        return {name: parameter.shape for name, parameter in Autoencoder(config).named_parameters()}
