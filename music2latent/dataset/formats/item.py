"""`Item`: latents of one piece of audio as a data set stores them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ...errors import InputError
from ...latents import Latents

FACTS = (
    *(
        "source",
        "hash",
        "size",
        "etag",
        "seconds_start",
        "seconds_total",
        "duration",
        "sample_rate",
        "channels",
        "num_samples",
    ),
    *("coding_rate", "frame_size", "edge", "lead", "model_id", "fingerprint", "scale", "metadata"),
)
"""What is stored beside values; `scale` is what whole numbers of 8 bits are multiplied by, else None."""

PROMPTS = ("prompt", "text", "caption", "description", "title")
"""Keys of metadata that say in words what is heard; the first that is there counts."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """Stored values and their facts."""

    key: str
    """Its name, once in a data set."""
    values: np.ndarray
    """`[C, D, L]`, float16 or int8."""
    facts: dict[str, Any]

    @property
    def floats(self) -> np.ndarray:
        """`[C, D, L]` float32, about unit variance."""
        values = self.values.astype(np.float32)
        return values if self.facts["scale"] is None else values * np.float32(self.facts["scale"])

    @property
    def prompt(self) -> str:
        """What a text encoder is given, if the metadata has it."""
        metadata = self.facts["metadata"]
        return str(next((metadata[name] for name in PROMPTS if metadata.get(name)), ""))

    def latents(self) -> Latents:
        """As `decompress` takes them.

        Raises:
            InputError: damaged facts.
        """
        names = ("sample_rate", "num_samples", "coding_rate", "model_id", "fingerprint", "frame_size", "edge")
        return Latents(values=torch.from_numpy(self.floats), **{name: self.facts[name] for name in names})


def npy(values: np.ndarray) -> bytes:
    """The content of an `.npy` file."""
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def from_npy(content: bytes, name: str) -> np.ndarray:
    """Its array.

    Raises:
        InputError: no such file, or a damaged one.
    """
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{name}: truncated, or not an .npy file") from error
