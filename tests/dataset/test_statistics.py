from __future__ import annotations

import random

import hypothesis.strategies as st
import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import arrays

from music2latent.dataset.statistics import Statistics

FINITE = st.floats(-65504, 65504, width=16)


@given(
    values=arrays(np.float16, st.tuples(st.just(2), st.just(3), st.integers(1, 9)), elements=FINITE), seed=st.integers()
)
def test_sums_are_exact_in_any_order(values: np.ndarray, seed: int) -> None:
    pieces = [values[..., at : at + 1] for at in range(values.shape[-1])]
    random.Random(seed).shuffle(pieces)
    total = Statistics()
    for piece in pieces:
        total = total + Statistics.of(piece)
    assert total == Statistics.of(values) == Statistics.from_dict(total.to_dict())
    wide = values.astype(np.float64).swapaxes(0, 1).reshape(3, -1)
    assert np.allclose(total.mean, wide.mean(1), rtol=1e-12, atol=1e-12)
    assert np.allclose(total.std, wide.std(1), rtol=1e-6, atol=1e-4)
    assert total.count == 2 * values.shape[-1]
