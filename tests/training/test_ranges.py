"""Ranges beside defaults. That every setting of training has one is tested with the configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from music2latent import InputError
from music2latent.training.ranges import check_ranges, one_of, within


@dataclass(frozen=True)
class Table:
    count: int = within(2, 1, 4)
    rate: float = within(0.5, 0.0, 1.0)
    sizes: tuple[int, ...] = within((16, 32), 16, 64)
    word: str = one_of("a", "b")
    flag: bool = False


@pytest.mark.parametrize(
    "good", [{}, {"count": 1}, {"count": 4, "rate": 1}, {"rate": 0.0}, {"sizes": (64,)}, {"word": "b"}, {"flag": True}]
)
def test_ends_are_accepted(good: dict[str, object]) -> None:
    check_ranges("table", Table(**good))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"count": 0}, "table: count = 0; accepted: 1 to 4"),
        ({"count": 2.5}, "table: count = 2.5; accepted: 1 to 4"),
        ({"rate": math.nan}, "table: rate = nan; accepted: 0.0 to 1.0"),
        ({"rate": "0.5"}, "table: rate = '0.5'; accepted: 0.0 to 1.0"),
        ({"sizes": ()}, "table: sizes = (); accepted: one or more numbers from 16 to 64"),
        ({"sizes": (16, 65)}, "table: sizes = (16, 65); accepted: one or more numbers from 16 to 64"),
        ({"sizes": 16}, None),
        ({"word": "c"}, "table: word = 'c'; accepted: a, b"),
        ({"word": []}, "table: word = []; accepted: a, b"),
    ],
)
def test_the_rest_is_refused(bad: dict[str, object], message: str | None) -> None:
    with pytest.raises(InputError) as refused:
        check_ranges("table", Table(**bad))  # type: ignore[arg-type]
    assert message is None or str(refused.value) == message
