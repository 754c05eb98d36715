"""Shared by the tests: the reference models, and small audio."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch

from music2latent import EncoderDecoder, ModelConfig
from music2latent.checkpoint import Checkpoint

from .reference import fill_weights

REFERENCE = Path(__file__).parent / "reference"
CASES = json.loads((REFERENCE / "cases.json").read_text())
CLIP = Path(__file__).parent.parent / "examples" / "clip.ogg"


def reference_keys(name: str) -> list[tuple[str, tuple[int, ...]]]:
    """Keys and shapes of a reference configuration's checkpoint, in order."""
    return [(key, tuple(shape)) for key, shape in json.loads((REFERENCE / f"{name}.json").read_text())["parameters"]]


@cache
def reference_checkpoint(name: str) -> Checkpoint:
    config = ModelConfig.from_dict(json.loads((REFERENCE / f"{name}.json").read_text())["config"])
    weights = {key: torch.from_numpy(fill_weights.fill(key, shape)) for key, shape in reference_keys(name)}
    return Checkpoint(config, weights, name, 0.06)


@cache
def reference_codec(name: str) -> EncoderDecoder:
    return EncoderDecoder(model=reference_checkpoint(name), device="cpu", dtype="float32")


def relative_error(got: object, expected: object) -> float:
    """Norm of the difference over norm."""
    expected = np.asarray(expected, np.float64)
    return float(np.linalg.norm(np.asarray(got, np.float64) - expected) / np.linalg.norm(expected))


def sound(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    """Gliding tones over noise, `[C, n]` float32."""
    return fill_weights.audio(seed, channels, samples)


class NoNorm(torch.nn.Module):
    """In place of a normalisation, whose statistics reach over the whole window."""

    def forward(
        self, x: torch.Tensor, *, shift: torch.Tensor | None = None, silu: bool = False, reuse: bool = False
    ) -> torch.Tensor:
        x = x if shift is None else x + shift.view(*x.shape[:2], *[1] * (x.ndim - 2))
        return torch.nn.functional.silu(x) if silu else x
