"""The autoencoder: three networks, the spectrogram and the consistency function put together, for one chunk of audio.

Long signals are cut into chunks by `chunk_coding`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from . import consistency, spectrogram
from .config import ModelConfig
from .nn.denoiser import Denoiser
from .nn.encoder import Encoder
from .nn.layers import GroupNorm, Up
from .nn.upsampler import Upsampler


class Autoencoder(nn.Module):
    """Its state dict has the official keys in the official order: `encoder.*`, `decoder.*` (the upsampler), and the
    denoiser's layers at the top level.

    Latents here are the tanh output in (-1, 1); the codec scales them to unit variance.
    """

    denoiser: Denoiser
    compiled: Autoencoder
    """The same model with compiled networks after `compile_networks`, else this one."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Upsampler(config)
        denoiser = Denoiser(config)
        for name, module in denoiser.named_children():
            self.add_module(name, module)
        # Past nn.Module's registration, so that every layer has one key only.
        self.__dict__["denoiser"] = denoiser
        self.__dict__["compiled"] = self
        self._calls: dict[nn.Module, Callable[..., Any]] = {}

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

    def use_plain_layers(self) -> Autoencoder:
        """Compute with PyTorch's own layers alone, as exporters and other compilers want them; returns itself.

        That is without the normalisation in C++ and without folded upsampling: slower, and equal but for rounding.
        """
        for module in self.modules():
            if isinstance(module, (GroupNorm, Up)):
                module.plain = True
        return self

    def compile_networks(self) -> None:
        """Make `compiled`: it shares the weights, and runs its networks through `torch.compile`.

        Every shape of input is compiled once, which takes from seconds to minutes; on a GPU the result is a CUDA graph.
        """
        twin = copy.copy(self)
        twin._calls = {network: _compiled(network) for network in (self.encoder, self.decoder, self.denoiser)}
        self.__dict__["compiled"] = twin

    def __getstate__(self) -> dict[str, Any]:
        """Compiled networks stay behind; a copy compiles its own."""
        return self.__dict__ | {"compiled": self.compiled is not self, "_calls": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        compiles = self.__dict__["compiled"]
        self.__dict__["compiled"] = self
        if compiles:
            self.compile_networks()

    def _call(self, network: nn.Module) -> Callable[..., Any]:
        """The network, or what it was compiled to, which has no gradients."""
        return network if torch.is_grad_enabled() else self._calls.get(network, network)

    def encode(self, segments: Tensor) -> Tensor:
        """`[B, T, n_fft]` (`spectrogram.segment`) -> latents `[B, D, T / columns_per_latent]` in (-1, 1)."""
        return self._call(self.encoder)(spectrogram.analyse(segments).to(self.dtype)).to(segments.dtype)

    def encode_features(self, segments: Tensor) -> Tensor:
        """`[B, T, n_fft]` -> the encoder's features `[B, feature_dim, T / columns_per_latent]`."""
        return self.encoder.features(spectrogram.analyse(segments).to(self.dtype)).to(segments.dtype)

    def encode_with_features(self, segments: Tensor) -> Tensor:
        """Both, latents first: `[B, D + feature_dim, T / columns_per_latent]`."""
        features = self.encoder.features(spectrogram.analyse(segments).to(self.dtype))
        return torch.cat([self.encoder.bottleneck(features), features], dim=1).to(segments.dtype)

    def denoise(self, x: Tensor, sigma: Tensor, pyramid: list[Tensor]) -> Tensor:
        """The consistency function D(x, sigma | pyramid), see `consistency.denoise`."""
        return consistency.denoise(self.denoiser, x, sigma, pyramid, self.config)

    def decode(self, latents: Tensor, draw: Callable[[int], Tensor], num_steps: int = 1) -> Tensor:
        """latents `[B, D, L]` in (-1, 1) -> spectrogram `[B, 2, F, T]`; `draw` as in `consistency.sample`."""
        pyramid = self._call(self.decoder)(latents.to(self.dtype))
        return consistency.sample(self._call(self.denoiser), pyramid, draw, self.config, num_steps)


def _compiled(network: nn.Module) -> Callable[..., Any]:
    compiled = torch.compile(network, mode="reduce-overhead", dynamic=False, fullgraph=True)

    def run(*inputs: Any) -> Any:
        output = compiled(*inputs)
        # A CUDA graph writes its next result over this one, and some of these are still needed then.
        return [level.clone() for level in output] if isinstance(output, list) else output.clone()

    return run


@cache
def parameter_shapes(config: ModelConfig) -> dict[str, torch.Size]:
    """Names and shapes of a model's weights, in the official order, which averaged weights rely on."""
    with torch.device("meta"):
        return {name: parameter.shape for name, parameter in Autoencoder(config).named_parameters()}
