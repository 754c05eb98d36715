"""How long work says how far it is: it calls what it was given."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float], None]
"""Told the fraction that is done, 0 to 1."""

NamedProgress = Callable[[str, float], None]
"""Told what is being done, and the fraction of all work that is done."""
