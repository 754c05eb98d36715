"""What a setting accepts, declared beside its default, and the one check that every table of settings goes through."""

from __future__ import annotations

import dataclasses
import reprlib
from typing import Any, TypeVar

from ..errors import InputError

T = TypeVar("T")

WINDOWS = (16, 65536)
"""Lengths of STFT windows in samples."""
WEIGHT = (0.0, 1e6)
"""Factors on losses."""


def within(default: T, low: float, high: float) -> T:
    """A field of a dataclass: a number from low to high, or a list of such numbers that is not empty."""
    field: T = dataclasses.field(default=default, metadata={"low": low, "high": high})
    return field


def one_of(default: str, *others: str) -> str:
    """A field of a dataclass: one of these words."""
    field: str = dataclasses.field(default=default, metadata={"words": (default, *others)})
    return field


def name(default: str) -> str:
    """A field of a dataclass: any text but an empty one."""
    field: str = dataclasses.field(default=default, metadata={"name": True})
    return field


def check_ranges(where: str, settings: Any) -> None:
    """Refuse settings that are not what their fields accept; NaN never is.

    Raises:
        InputError: at the first such setting.
    """
    for field in dataclasses.fields(settings):
        value, facts = getattr(settings, field.name), field.metadata
        if "words" in facts:
            good, accepted = value in facts["words"], ", ".join(facts["words"])
        elif "name" in facts:
            good, accepted = bool(value), "a name"
        elif "low" in facts:
            default: Any = field.default
            several = isinstance(default, tuple)
            example = default[0] if several else default
            kinds = int if isinstance(example, int) else (int, float)
            entries = value if isinstance(value, (list, tuple)) else () if several else (value,)
            good = bool(entries) and all(isinstance(e, kinds) and facts["low"] <= e <= facts["high"] for e in entries)
            accepted = f"{'one or more numbers from ' if several else ''}{facts['low']} to {facts['high']}"
        else:
            continue
        if not good:
            raise InputError(f"{where}: {field.name} = {reprlib.repr(value)}; accepted: {accepted}")
