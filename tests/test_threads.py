from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from music2latent.threads import ahead


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_everything_comes_in_order(count: int) -> None:
    assert list(ahead(iter(range(count)))) == list(range(count))


def test_the_next_items_are_made_while_one_is_held() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    found = ahead(items(), depth=2)
    assert next(found) == 0
    assert made[2].wait(5)  # nobody has asked for 1 yet
    assert not made[3].wait(0.1)
    assert list(found) == [1, 2, 3]


def test_an_error_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    found = ahead(items())
    assert next(found) == 1
    with pytest.raises(ValueError, match="broken"):
        next(found)


def test_whoever_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    found = ahead(iter(range(1000)))
    next(found)
    found.close()
    assert threading.active_count() == before
