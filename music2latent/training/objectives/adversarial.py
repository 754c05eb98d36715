"""Discriminators of spectrograms shall not tell the decoded audio from originals.

One for each window length, convolutions over complex spectrograms, trained against the decoder by hinge losses, with
feature matching (High Fidelity Neural Audio Compression, arXiv 2210.13438, section 3.4).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import weight_norm
from torch.optim.adam import adam

from ...config import ModelConfig
from ...devices import without_autocast
from ...spectrogram import ALPHA
from ...stft import stft
from ..ranges import WEIGHT, WINDOWS, within
from .batch import Batch, Head, Stage
from .waveform import compressed


class Discriminator(nn.Module):
    """Of spectrograms with one window length."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = [nn.Conv2d(2, channels, (3, 9), padding=(1, 4))]
        for dilation in (1, 2, 4):  # in time, where all columns are kept; half the bins each
            layers.append(nn.Conv2d(channels, channels, (3, 9), (1, 2), padding=(dilation, 4), dilation=(dilation, 1)))
        layers.append(nn.Conv2d(channels, 1, 3, padding=1))
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        """`[B, 2, T, F]` -> the maps of all layers; the last one, `[B, 1, T, F / 8]`, is high where the discriminator
        takes it for an original."""
        maps: list[Tensor] = []
        for layer in self.layers:
            maps.append(layer(F.leaky_relu(maps[-1], 0.2) if maps else x))
        return maps


class Discriminators(Head):
    """One for each window length; constants to the loss that the model descends."""

    steps: Tensor

    def __init__(self, sizes: tuple[int, ...], channels: int, lr: float) -> None:
        super().__init__()
        self.sizes, self.lr = sizes, lr
        self.networks = nn.ModuleList(Discriminator(channels) for _ in sizes).requires_grad_(False)
        # Adam's moments: of the same shapes, saved and moved as the weights are.
        self.means, self.squares = copy.deepcopy(self.networks), copy.deepcopy(self.networks)
        for moment in (*self.means.parameters(), *self.squares.parameters()):
            moment.zero_()
        self.register_buffer("steps", torch.zeros(()))
        self._seen: list[list[Tensor]] = []

    def forward(self, decoded: Tensor, original: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Audio `[B, n]` of both kinds -> what the decoder is to descend, the hinge and the differences of maps, and
        the discriminators' own loss. `learn` will descend the latter."""
        hinges, matchings, owns = [], [], []
        gradients: list[Tensor] = []
        for network, size in zip(self.networks, self.sizes, strict=True):
            found, wanted = (
                compressed(stft(audio, size, pad=True), ALPHA).permute(0, 3, 1, 2) for audio in (decoded, original)
            )
            *maps, seen = network(found)
            *others, _ = network(wanted)
            hinges.append(F.relu(1 - seen.float()).mean())
            matchings += [
                ((one - two).abs().flatten(1).mean(1) / two.abs().flatten(1).mean(1)).mean()
                for one, two in zip(maps, others, strict=True)
            ]
            # Float16's gradients would need a scale of their own.
            with torch.enable_grad(), without_autocast(decoded.device):
                weights = {name: weight.detach().requires_grad_() for name, weight in network.named_parameters()}
                fake, real = (functional_call(network, weights, x.detach())[-1] for x in (found, wanted))
                own = F.relu(1 + fake).mean() + F.relu(1 - real).mean()
                own.backward()  # to these copies alone
            gradients += [cast(Tensor, weight.grad) for weight in weights.values()]
            owns.append(own.detach())
        self._seen.append(gradients)
        return torch.stack(hinges).mean(), torch.stack(matchings).mean(), torch.stack(owns).mean()

    def learn(self, mean: Callable[[Tensor], Tensor] = lambda own: own) -> None:
        weights: list[Tensor] = list(self.networks.parameters())
        with torch.no_grad():
            gradients = [mean(torch.stack(seen).mean(0)) for seen in zip(*self._seen, strict=True)]
            adam(
                weights,
                gradients,
                list(self.means.parameters()),
                list(self.squares.parameters()),
                [],
                [self.steps.clone() for _ in weights],
                amsgrad=False,
                beta1=0.5,
                beta2=0.9,
                lr=self.lr,
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )
            self.steps += 1
        self.forget()

    def forget(self) -> None:
        self._seen.clear()


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """Discriminators, which learn as the model does, shall take its one-step output for originals."""

    looks_at: ClassVar[Stage] = Stage.AUDIO
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    sizes: tuple[int, ...] = within((512, 2048), *WINDOWS)
    """Window lengths in samples, a discriminator each; crops must be longer than the longest."""
    channels: int = within(16, 1, 1024)
    """Width of the discriminators."""
    matching: float = within(4.0, *WEIGHT)
    """Factor on the differences of the discriminators' maps, relative to the original's; that on the hinge is 1."""
    lr: float = within(3e-4, 1e-12, 1.0)
    """The discriminators' constant learning rate."""

    def head(self, config: ModelConfig) -> Discriminators:
        """New ones."""
        return Discriminators(self.sizes, self.channels, self.lr)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The decoder's loss; its parts, and the discriminators' own (2 if they tell nothing apart)."""
        judge = cast(Discriminators, batch.heads["adversarial"])
        hinge, matching, own = judge(batch.decoded, batch.original)
        return hinge + self.matching * matching, {"hinge": hinge, "matching": matching, "discriminators": own}
