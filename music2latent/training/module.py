"""One pass of training: a model and its objectives as one module, to be run in parallel and compiled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from .. import spectrogram
from ..autoencoder import Autoencoder
from .config import Recipe, TrainingConfig
from .objectives import Batch, Head, Headed, Objective, Stage


@dataclass(frozen=True)
class Losses:
    """What one pass gives."""

    loss: Tensor
    """The weighted sum of the objectives, to descend."""
    figures: dict[str, Tensor]
    """Every objective's loss under its name, and its figures as NAME/FIGURE, without gradients."""
    latents: Tensor
    """`[B, D, L]`, without gradients."""


class TrainingModule(nn.Module):
    """A model under its objectives."""

    def __init__(self, model: Autoencoder, objectives: Mapping[str, Objective]) -> None:
        super().__init__()
        self.model = model
        self.objectives = dict(objectives)
        self.heads = nn.ModuleDict(
            {name: one.head(model.config) for name, one in self.objectives.items() if isinstance(one, Headed)}
        )
        for name, parameter in model.decoder.bottleneck_layers.named_parameters():
            if ".proj_emb." in name:  # stored, but used by nothing; parallel training would wait for its gradient
                parameter.requires_grad_(False)

    def batch(
        self,
        audio: Tensor,
        sigma: Tensor,
        sigma_next: Tensor,
        noise: Tensor,
        latent_noise: Tensor | None = None,
        latent_mask: Tensor | None = None,
    ) -> Batch:
        """What objectives are called with; audio `[B, n]`, noise levels `[B]` float64, noise `[B, 2, F, T]`, and what
        happens to the latents before they are decoded: noise `[B, D, L]`, a mask `[B, D, 1]`."""
        with torch.no_grad():
            x = spectrogram.spectrogram(audio, self.model.config.hop_length)
        features = self.model.encoder.features(x)
        return Batch(
            model=self.model,
            audio=audio,
            x=x,
            features=features,
            latents=self.model.encoder.bottleneck(features),
            latent_noise=latent_noise,
            latent_mask=latent_mask,
            heads=cast(Mapping[str, Head], self.heads),
            sigma=sigma,
            sigma_next=sigma_next,
            noise=noise,
        )

    def forward(self, *inputs: Any) -> Losses:
        """The losses of a batch; arguments as in `batch`."""
        batch = self.batch(*inputs)
        total = batch.audio.new_zeros(())
        figures: dict[str, Tensor] = {}
        for name, objective in self.objectives.items():
            loss, more = objective(batch)
            total = total + objective.weight * loss
            figures |= {name: loss.detach()} | {f"{name}/{key}": value.detach() for key, value in more.items()}
        return Losses(total, figures, batch.latents.detach().float())


def stage_of(parameter: str) -> Stage:
    """How far a batch has come when it has met this parameter of an `Autoencoder`."""
    network, _, inner = parameter.partition(".")
    if network == "encoder":
        return Stage.LATENTS if inner.startswith(("bottleneck_layers.", "norm_out.", "conv_out.")) else Stage.FEATURES
    if network == "decoder":
        return Stage.TONES if inner.startswith("tones.") else Stage.PYRAMID
    return Stage.AUDIO


def choose_trained(model: Autoencoder, config: TrainingConfig) -> None:
    """Gradients for what an objective looks at and the recipe does not freeze: parallel training waits for each."""
    looked_at = {objective.looks_at for objective in config.active.values()}
    for name, parameter in model.named_parameters():
        stage = stage_of(name)
        # The pyramid is made without the tones.
        met = bool(looked_at & {Stage.TONES, Stage.AUDIO}) if stage == Stage.TONES else stage <= config.stage
        parameter.requires_grad_(met and not (config.recipe.freeze_encoder and name.startswith("encoder.")))


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
