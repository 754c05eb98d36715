"""Whole numbers, whatever type they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from music2latent import InputError
from music2latent.errors import printable, whole_number


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.float32(3), True + 2])
def test_whole_numbers_of_any_type(value: Any) -> None:
    found = whole_number("n", value)
    assert found == 3
    assert type(found) is int


@pytest.mark.parametrize("value", [0, 2.5, "3", None, float("nan"), float("inf"), 2**63])
def test_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"^n = .*; accepted: whole numbers from 1 to 9223372036854775807$"):
        whole_number("n", value)


@pytest.mark.parametrize("text", ["a" * 5000, "\U000e0001" * 5000, "\x1b[2J\n" * 5000, "\udcff"])
def test_what_is_printed_is_short_and_harmless(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= 1010
    assert printable("as it is, 音") == "as it is, 音"


def test_an_input_error_is_a_value_error() -> None:
    assert issubclass(InputError, ValueError)
