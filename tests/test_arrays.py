"""Arrays of samples: scaled by their range, and refused where they cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from music2latent import InputError
from music2latent.arrays import as_float


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        (np.int16, -(2**15), -1),
        (np.int16, 2**14, 0.5),
        (np.int32, 2**30, 0.5),
        (np.int8, -64, -0.5),
        (np.uint8, 128, 0),
        (np.uint8, 0, -1),
        (np.uint16, 0, -1),
        (np.uint16, 2**15 + 2**14, 0.5),
        (np.longdouble, 0.25, 0.25),
        (">i2", 2**14, 0.5),
        (">f4", 0.25, 0.25),
        (np.float64, 0.25, 0.25),
        (np.float16, 0.25, 0.25),
    ],
)
def test_numbers_are_scaled_by_their_range(dtype: type | str, value: float, expected: float) -> None:
    array = np.full((2, 50), value, dtype)
    views: list[Any] = [array, array[:, ::-1], np.broadcast_to(array[0], (2, 50))]  # plain, reversed, read-only
    if array.dtype.isnative and dtype is not np.longdouble:
        views.append(torch.from_numpy(array))
    for samples in views:
        out = as_float(samples)
        assert out.dtype == torch.float32
        assert (out == expected).all()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 0)), r"shape \[2, 0\] has no samples"),
        (np.float32(1), "no samples"),
        (np.zeros((1000, 2)), r"looks like \[n, C\]; .* pass audio.T"),
        (np.zeros(100, np.int64), "type int64: accepted are floats"),
        (np.zeros(100, bool), "type bool"),
        (np.zeros(100, np.complex64), "type complex64"),
        (np.array([0, np.nan]), "NaN or infinite at sample 1"),
        (np.array([[0, 0, 1000.0], [0, 0, -np.inf]]), "1000 at sample 2; .* divide .* by 32768"),
        (np.array([[0, 0, 0], [0, -64.5, 0]], np.float16), r"-64.5 at sample 1; float samples must be in \[-1, 1\]"),
        (torch.full((2, 50), 3000.0, requires_grad=True), "3000 at sample 0"),
        (np.array([0, 1e300]), r"1e\+300 at sample 1"),
        (
            ["a.wav", Path("b.wav")],
            r"a list of files; .* one piece of audio at a time: \[codec.compress\(path\) for path",
        ),
        ((b"RIFF", b"RIFF"), "a tuple of files"),
        (np.array(["a", "b"]), "not an array of numbers"),
        ([0.0, None], "not an array of numbers"),
    ],
)
def test_refused_arrays(array: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_float(array)


def test_mixes_that_overshoot_pass() -> None:
    assert as_float(np.array([0, 10.0, -64.0])).tolist() == [0, 10, -64]


@pytest.mark.parametrize("shape", [(2, 0), (33, 1), (64, 5), (1000, 2), (0,)])
def test_a_block_of_a_stream_may_be_of_any_length(shape: tuple[int, ...]) -> None:
    assert as_float(np.zeros(shape), block=True).shape == shape
