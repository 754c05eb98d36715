from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from music2latent.threads import Together, ahead


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


class Squares:
    """key + item ** 2, with a note of what came together."""

    def __init__(self) -> None:
        self.batches: list[tuple[Hashable, list[int]]] = []

    def __call__(self, key: Hashable, items: list[int]) -> list[int]:
        self.batches.append((key, items))
        return [key + item**2 for item in items]  # type: ignore[operator]


def test_calls_of_several_threads_run_as_one() -> None:
    run = Squares()
    together = Together(run, size=3, patience=60)
    with ThreadPoolExecutor(6) as pool:  # 60 s would pass if one key's calls waited for another's
        results = list(pool.map(together, [0, 100] * 3, range(6)))
    assert results == [0, 101, 4, 109, 16, 125]
    assert sorted((key, sorted(items)) for key, items in run.batches) == [(0, [0, 2, 4]), (100, [1, 3, 5])]


def test_who_is_alone_does_not_wait_for_ever() -> None:
    run = Squares()
    together = Together(run, size=3, patience=0.01)
    assert [together(1, item) for item in range(3)] == [1, 2, 5]
    assert run.batches == [(1, [0]), (1, [1]), (1, [2])]


def test_every_thread_gets_its_own_result() -> None:
    run = Squares()
    together = Together(run, size=4, patience=0.001)
    with ThreadPoolExecutor(7) as pool:
        assert list(pool.map(together, [0] * 500, range(500))) == [item**2 for item in range(500)]
    assert max(len(items) for _, items in run.batches) <= 4
    assert sorted(item for _, items in run.batches for item in items) == list(range(500))


def test_an_error_reaches_all_who_shared_it() -> None:
    def run(key: Hashable, items: list[int]) -> list[int]:
        raise ValueError("broken")

    together = Together(run, size=2, patience=60)
    with ThreadPoolExecutor(2) as pool:
        for call in [pool.submit(together, 0, item) for item in range(2)]:
            with pytest.raises(ValueError, match="broken"):
                call.result()
