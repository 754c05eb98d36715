"""Whole collections: audio -> data sets of latents that can be proved whole (`encode.encode`), and back to training."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_MODULES = {
    "Example": "examples",
    "LatentDataset": "latent_dataset",
    "LatentStream": "latent_stream",
    "collate": "examples",
}
__all__ = ["Example", "LatentDataset", "LatentStream", "collate"]

if TYPE_CHECKING:
    from .examples import Example, collate
    from .latent_dataset import LatentDataset
    from .latent_stream import LatentStream


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used."""
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What can be imported from here, for completion."""
    return sorted({*globals(), *__all__})
