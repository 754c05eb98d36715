"""What another encoder's latents hold, the latents shall hold too, in a form that a linear map finds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from ...config import ModelConfig
from ...errors import InputError
from ...nn.encoder import Encoder
from ...pretrained import load_model
from ..ranges import WEIGHT, name, within
from .batch import Batch, Stage
from .linear_readout import LinearReadout


@cache
def _teacher(model: str, device: torch.device) -> Encoder:
    return load_model(model).to(device).encoder.requires_grad_(False)


def untold(found: Tensor, wanted: Tensor) -> Tensor:
    """The share of the variance of `[B, D, ...]`, over all but D, that is not told."""
    mean = wanted.mean([axis for axis in range(wanted.ndim) if axis != 1], keepdim=True)
    return (found - wanted).square().mean() / (wanted - mean).square().mean().clamp(min=1e-9)


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """A decoder for one model's latents stays of use while the encoder learns more: a linear map of the new latents
    gives the old ones, and `scripts/adapt.py` puts it before the decoder (FitNets, arXiv 1412.6550, section 2.2)."""

    looks_at: ClassVar[Stage] = Stage.LATENTS
    weight: float = within(1.0, *WEIGHT)
    """Factor on this loss; 0 leaves it out."""
    teacher: str = name("mini")
    """Whose latents: a name as for `--model`."""

    def head(self, config: ModelConfig) -> LinearReadout:
        """The map.

        Raises:
            InputError: a teacher with other latents in number or length, or none of that name.
        """
        taught = load_model(self.teacher).config
        facts = [(one.latent_dim, one.frame_size, one.hop_length) for one in (taught, config)]
        if facts[0] != facts[1]:
            raise InputError(
                f"distillation: teacher {self.teacher} has latent_dim, frame_size, hop_length = {facts[0]}, "
                f"this model {facts[1]}; expected the same"
            )
        return LinearReadout(config.latent_dim, config.latent_dim)

    def __call__(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The share of the teacher's latents' variance in the batch that the map does not tell."""
        with torch.no_grad():
            wanted = _teacher(self.teacher, batch.x.device)(batch.x)
        found = batch.heads["distillation"](batch.latents, wanted)
        return untold(found, wanted), {}
