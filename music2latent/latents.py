"""The Latents record and its file, `.m2l`: a safetensors container with the facts in its metadata."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from .errors import InputError
from .files import check_suffix, replacing, stored_bits

FORMAT = "music2latent.latents"
FORMAT_VERSION = 1
SUFFIX = ".m2l"
_FACTS = {"sample_rate": int, "num_samples": int, "coding_rate": int, "model_id": str, "fingerprint": str}


@dataclass(frozen=True, eq=False, kw_only=True)
class Latents:
    """What `EncoderDecoder.compress` gives and `decompress` takes: the latents of one piece of audio, and its facts."""

    values: Tensor
    """`[C, D, L]` float32 on the CPU, about unit variance."""
    sample_rate: int
    """Rate of the original audio in Hz; decompressing returns to it."""
    num_samples: int
    """Samples per channel of the original audio; decompressing returns exactly as many."""
    coding_rate: int
    """Rate in Hz that the audio had while it was coded: the model's own, or 48000."""
    model_id: str
    """Name of the model that encoded it."""
    fingerprint: str
    """SHA-256 of that model's weights and configuration; only the same can decode."""

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or not self.values.numel():
            raise InputError(f"latents of shape {list(self.values.shape)}; expected [C, D, L]")
        if min(self.sample_rate, self.num_samples, self.coding_rate) < 1:
            raise InputError("latents: sample_rate, num_samples and coding_rate must be positive")
        if not bool(torch.isfinite(self.values).all()):
            raise InputError("latents: NaN or infinite values")

    @property
    def channels(self) -> int:
        """Audio channels."""
        return self.values.shape[0]

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return self.num_samples / self.sample_rate

    def bitrate(self, bits_per_value: int = 16) -> float:
        """kbit/s of the values, all channels together, when each takes that many bits."""
        return self.values.numel() * bits_per_value / self.duration / 1000

    def rounded(self) -> Latents:
        """The same record as a float16 file gives it back."""
        return replace(self, values=self.values.to(torch.float16).to(torch.float32))

    def to_bytes(self, *, dtype: str = "float16", name: str = "latents") -> bytes:
        """The content of an `.m2l` file; messages call it `name`.

        Args:
            dtype: `float16` (its rounding is a thousandth, far below what the model loses) or `float32`.

        Raises:
            InputError: another dtype, or values that float16 cannot hold.
        """
        stored_bits(dtype)
        values = self.values.to(getattr(torch, dtype))
        if not bool(torch.isfinite(values).all()):
            raise InputError(f"{name}: values beyond float16's 65504; store them with dtype='float32'")
        facts = {"format": FORMAT, "version": FORMAT_VERSION} | {key: getattr(self, key) for key in _FACTS}
        return save({"latents": values.contiguous()}, {key: json.dumps(value) for key, value in facts.items()})

    def save(self, path: str | os.PathLike[str], *, dtype: str = "float16") -> None:
        """Write an `.m2l` file, replacing an older one at once or not at all; `dtype` as in `to_bytes`.

        Raises:
            InputError: another suffix or dtype, values that float16 cannot hold, or a place that cannot be written.
        """
        path = Path(path)
        check_suffix(path, SUFFIX, "latents")
        content = self.to_bytes(dtype=dtype, name=os.fspath(path))
        with replacing(path) as partial:
            partial.write_bytes(content)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "latents") -> Latents:
        """Read the content of an `.m2l` file; messages call it `name`.

        Raises:
            InputError: truncated, not of this format, or of a version that this package does not know.
        """
        try:
            tensors = load(content)
            header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # load drops the metadata
            metadata = {key: json.loads(value) for key, value in header.get("__metadata__", {}).items()}
        except (safetensors.SafetensorError, json.JSONDecodeError) as error:
            raise InputError(f"{name}: truncated, or not a {SUFFIX} file ({error})") from error
        if metadata.get("format") != FORMAT:
            raise InputError(f"{name}: a safetensors file, but not latents; expected a {SUFFIX} file")
        if (version := metadata.get("version")) != FORMAT_VERSION:
            raise InputError(
                f"{name}: format version {version}, this package reads {FORMAT_VERSION}; "
                "a newer release of music2latent may read it"
            )
        wrong = [key for key, kind in _FACTS.items() if type(metadata.get(key)) is not kind]
        if wrong or list(tensors) != ["latents"]:
            raise InputError(f"{name}: damaged, wrong or missing: {', '.join(wrong) or 'latents'}")
        return cls(values=tensors["latents"].to(torch.float32), **{key: metadata[key] for key in _FACTS})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Latents:
        """Read an `.m2l` file.

        Raises:
            InputError: missing, truncated, not of this format, or of a version that this package does not know.
        """
        if not Path(path).is_file():
            raise InputError(f"{path}: no such file")
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        return cls.from_bytes(content, os.fspath(path))


def as_values(latent: Any, dim: int) -> Tensor:
    """An array or tensor of latents `[D, L]`, `[C, D, L]` or `[B, C, D, L]` as a tensor of its own dtype and device.

    Raises:
        InputError: another shape, no or complex or not finite numbers, or a `Latents` record.
    """
    if isinstance(latent, Latents):
        raise InputError("decode takes the values of latents; for a Latents record there is decompress")
    try:
        values = latent if isinstance(latent, Tensor) else torch.as_tensor(np.array(latent))
    except (TypeError, ValueError) as error:
        raise InputError(f"latents of type {type(latent).__name__}, not an array of numbers") from error
    if values.is_complex() or values.ndim not in (2, 3, 4) or values.shape[-2] != dim or not values.numel():
        hint = "; pass the transpose" if values.ndim > 1 and values.shape[-1] == dim else ""
        raise InputError(
            f"latents of shape {list(values.shape)}; expected [{dim}, L], [C, {dim}, L] or [B, C, {dim}, L]{hint}"
        )
    if not bool(torch.isfinite(values).all()):
        raise InputError("latents: NaN or infinite values")
    return values
