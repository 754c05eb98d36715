from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from music2latent import InputError
from music2latent.dataset.isolation import Died, Isolated

from ..helpers import posix


def make(start: int) -> Callable[[str, int], Iterator[Any]]:
    def count(what: str, number: int) -> Iterator[Any]:
        yield from range(start, start + number)
        if what == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "exit":
            os._exit(3)
        if what == "refuse":
            raise InputError("not this")
        if what == "fail":
            raise ZeroDivisionError("a bug")
        yield os.getpid()

    return count


@posix
def test_a_generator_elsewhere() -> None:
    work = Isolated(make, 10)
    try:
        *values, first = work("", 3)
        assert values == [10, 11, 12]
        assert first != os.getpid()
        *_, second = work("", 1)
        assert second == first  # the same process serves many calls
        for what, kind, message in (
            ("refuse", InputError, "not this"),
            ("fail", RuntimeError, "ZeroDivisionError: a bug"),
            ("kill", Died, "ended by SIGKILL"),
            ("exit", Died, "ended with 3"),
        ):
            seen = []
            with pytest.raises(kind, match=message):
                for value in work(what, 2):
                    seen.append(value)
            assert seen == [10, 11]
            *_, last = work("", 1)  # and it goes on, if need be in a new process
            assert (last == first) == (kind in (InputError, RuntimeError))
        values = work("", 100_000)  # type: ignore[assignment]
        assert next(iter(values)) == 10
        values.close()  # type: ignore[attr-defined]
        assert next(iter(work("", 1))) == 10
    finally:
        work.close()
        work.close()
