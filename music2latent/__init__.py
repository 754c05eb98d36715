"""Music2Latent: 44.1 kHz audio -> 64 numbers about eleven times a second -> audio, in one network step."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_MODULES = {
    "EncoderDecoder": "codec",
    "Latents": "latents",
    "ModelConfig": "config",
    "load_model": "pretrained",
    "InputError": "errors",
}
__all__ = ["EncoderDecoder", "InputError", "Latents", "ModelConfig", "__version__", "load_model"]

if TYPE_CHECKING:
    from .codec import EncoderDecoder
    from .config import ModelConfig
    from .errors import InputError
    from .latents import Latents
    from .pretrained import load_model


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: torch alone takes a second or two."""
    if name in _MODULES:
        return getattr(import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What can be imported from here, for completion."""
    return sorted({*globals(), *__all__})
