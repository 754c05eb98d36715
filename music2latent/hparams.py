"""Where the official package keeps its settings, as module variables. Here a model has its own, `codec.config`."""

from __future__ import annotations

from typing import Any

from .config import ModelConfig

_RENAMED = {"hop": "hop_length", "bottleneck_channels": "latent_dim"}


def __getattr__(name: str) -> Any:
    """The official model's value of a setting.

    Raises:
        AttributeError: one that no model here has; with the place to look.
    """
    official = ModelConfig()
    field = _RENAMED.get(name, name)
    if field in official.to_dict():
        return getattr(official, field)
    raise AttributeError(
        f"music2latent.hparams has no {name!r}: a model's settings are EncoderDecoder().config, "
        "those of a training are in its recipe"
    )
