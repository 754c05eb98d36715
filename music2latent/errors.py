"""The one error for input that cannot be used, and a check that many modules share."""

from __future__ import annotations

import operator
from typing import Any


class InputError(ValueError):
    """Input that cannot be used. The message says what came, what is accepted and what to do, in one line."""


def whole_number(name: str, value: Any, low: int = 1, high: int = 2**63 - 1) -> int:
    """The value as an int, whatever kind of whole number it is (numpy's, or 44100.0).

    Raises:
        InputError: not a whole number, or out of range.
    """
    try:
        number = int(value) if hasattr(value, "is_integer") and value.is_integer() else operator.index(value)
    except TypeError:
        number = low - 1
    if not low <= number <= high:
        raise InputError(f"{name} = {value!r}; accepted: whole numbers from {low} to {high}")
    return number


def check_name(name: str, text: Any, most: int = 1000) -> None:
    """Refuse what does not do as a name that files record.

    Raises:
        InputError: not a str, too long, or not Unicode.
    """
    if not isinstance(text, str) or len(text) > most or text.encode(errors="ignore").decode() != text:
        raise InputError(f"{name} = {text!r:.80}; accepted: Unicode text of up to {most} characters")


def printable(text: str, most: int = 1000) -> str:
    """The text as one line that a terminal can only show: what is not printable is escaped, the middle of a long one
    left out. Names out of files may hold anything."""
    shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return shown if len(shown) <= most else f"{shown[: most // 2]} [...] {shown[-most // 2 :]}"
