"""Mean and standard deviation per latent channel, exact: sums of whole numbers, so that no order of adding matters.

A float16 is a whole multiple of 2^-24, its square of 2^-48.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import add
from typing import Any

import numpy as np

_UNIT = 2.0**24
_SPLIT = 1 << 20


@dataclass(frozen=True)
class Statistics:
    """Sums over everything that was stored, per channel of the latents."""

    count: int = 0
    sums: tuple[int, ...] = ()
    """Of values, in units of 2^-24."""
    squares: tuple[int, ...] = ()
    """Of their squares, in units of 2^-48."""

    @classmethod
    def of(cls, values: np.ndarray) -> Statistics:
        """values `[C, D, L]` float16, finite; all audio channels together."""
        whole = np.rint(values.astype(np.float64) * _UNIT).astype(np.int64).swapaxes(0, 1).reshape(values.shape[1], -1)
        high, low = np.divmod(whole, _SPLIT)  # products of the halves fit 64 bits, sums of 2^23 of them too
        squares = (high * high).sum(1).astype(object) * _SPLIT**2 + (high * low).sum(1).astype(object) * 2 * _SPLIT
        squares = squares + (low * low).sum(1)
        return cls(whole.shape[1], tuple(whole.sum(1).tolist()), tuple(map(int, squares)))

    def __add__(self, other: Statistics) -> Statistics:
        if not self.count or not other.count:
            return self if self.count else other
        return Statistics(
            self.count + other.count,
            tuple(map(add, self.sums, other.sums)),
            tuple(map(add, self.squares, other.squares)),
        )

    @property
    def mean(self) -> list[float]:
        """Per channel."""
        return [total / self.count / _UNIT for total in self.sums]

    @property
    def std(self) -> list[float]:
        """Per channel, of the whole population."""
        pairs = zip(self.sums, self.squares, strict=True)
        return [math.sqrt(square * self.count - total * total) / self.count / _UNIT for total, square in pairs]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which holds whole numbers of any size."""
        return {"count": self.count, "sums": list(self.sums), "squares": list(self.squares)}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Statistics:
        """What `to_dict` gave."""
        return cls(found["count"], tuple(found["sums"]), tuple(found["squares"]))
