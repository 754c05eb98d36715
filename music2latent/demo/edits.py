"""What the page does to latents: mix, scale, add noise, stretch in time, swap the halves. Records in, a record out."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch

from ..chunks import latents_needed
from ..errors import InputError
from ..latents import Latents


def mix(one: Latents, other: Latents, share: float) -> Latents:
    """(1 - share) of the one and `share` of the other, as long as the shorter; rate and facts are the first's.

    One channel goes with any number of them.

    Raises:
        InputError: latents of different models, rates of coding or channels, or a share that is not in [0, 1].
    """
    share = _within("share", share, 0, 1)
    for name in ("fingerprint", "coding_rate", "frame_size", "edge"):
        if (first := getattr(one, name)) != (second := getattr(other, name)):
            raise InputError(f"latents of different {name} cannot be mixed: {first}, {second}")
    if one.channels != other.channels and 1 not in (one.channels, other.channels):
        raise InputError(f"{one.channels} and {other.channels} channels cannot be mixed; one of them may have one")
    length = min(one.shape[-1], other.shape[-1])
    values = (1 - share) * one.values[..., :length] + share * other.values[..., :length]
    num_samples = min(one.num_samples, max(1, other.num_samples * one.sample_rate // other.sample_rate))
    return replace(one, values=values, num_samples=num_samples, features=None)


def scale(latents: Latents, factor: float) -> Latents:
    """All values times a factor, 0 to 4.

    Raises:
        InputError: another factor.
    """
    return replace(latents, values=latents.values * _within("scale", factor, 0, 4), features=None)


def add_noise(latents: Latents, level: float, seed: int = 0) -> Latents:
    """Normal noise of this standard deviation, 0 to 4, on top; the latents' own is about 1.

    Raises:
        InputError: another level.
    """
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(seed))
    return replace(latents, values=latents.values + _within("noise", level, 0, 4) * noise, features=None)


def stretch(latents: Latents, factor: float) -> Latents:
    """As long times a factor, 1/4 to 4, at the same pitch: what sounded at second t sounds at second t * factor.

    New values lie on straight lines between their neighbours in time (`Latents.times`).

    Raises:
        InputError: another factor.
    """
    factor = _within("stretch", factor, 0.25, 4)
    num_samples = max(1, round(latents.num_samples * factor))
    length = latents_needed(-(-num_samples * latents.coding_rate // latents.sample_rate), latents)
    # Latent i sounds at frame_size * (i + 1/2) - edge / 2: where the times of the new ones lie among those.
    middle = 0.5 - latents.edge / (2 * latents.frame_size)
    places = ((torch.arange(length, dtype=torch.float64) + middle) / factor - middle).clamp(0, latents.shape[-1] - 1)
    before = places.long()
    after = (before + 1).clamp(max=latents.shape[-1] - 1)
    between = (places - before).float()
    values = torch.lerp(latents.values[..., before], latents.values[..., after], between)
    return replace(latents, values=values, num_samples=num_samples, features=None)


def swap_halves(latents: Latents) -> Latents:
    """The second half, then the first, cut at the whole frame nearest to the middle.

    Raises:
        InputError: shorter than two frames.
    """
    middle = latents.duration / 2
    return Latents.concatenate([latents[middle:], latents[:middle]])


def _within(name: str, value: Any, low: float, high: float) -> float:
    if not isinstance(value, (int, float)) or not low <= value <= high or not math.isfinite(value):
        raise InputError(f"{name} = {value!r:.40}; accepted: {low:g} to {high:g}")
    return float(value)
