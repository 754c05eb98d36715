"""`LatentDataset`: the items of a data set by number, for a `DataLoader`."""

from __future__ import annotations

import operator
from collections.abc import Iterator

from torch.utils.data import Dataset

from .examples import Example, Examples


class LatentDataset(Examples, Dataset[Example]):
    """A map-style data set: `len(data)`, `data[3]`. For arguments see `Examples`.

    Every item is read by itself, from wherever it lies; where that is slow (object storage, Parquet) there is
    `LatentStream`.
    """

    def __len__(self) -> int:
        return len(self._collection)

    def __iter__(self) -> Iterator[Example]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Example:
        """An example.

        Raises:
            IndexError: no such item.
            InputError: its file is missing or damaged.
        """
        number = operator.index(index)
        number += len(self) * (number < 0)
        if not 0 <= number < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        return self._example(number, self._collection.read(number), self.epoch)
