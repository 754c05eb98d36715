"""A network that computes something else is found out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from music2latent import InputError
from music2latent.export.networks import AudioDecoder, AudioEncoder
from music2latent.export.parity import CHECKED, TRACED, Run, check

from ..helpers import least_checkpoint


def _run(network: torch.nn.Module) -> Run:
    return lambda *arrays: network(*map(torch.from_numpy, arrays)).detach().numpy()


def test_lengths_are_not_the_traced_one() -> None:
    assert TRACED[0] not in {batch for batch, _ in CHECKED}
    assert TRACED[1] not in {length for _, length in CHECKED}


@pytest.mark.parametrize(
    "wrong",
    [lambda y: y * 1.01, lambda y: y[..., :-1], lambda y: y + 0.1, lambda y: y * np.nan, lambda y: y[..., ::-1]],
)
def test_other_results_are_refused(wrong: Callable[[np.ndarray], np.ndarray]) -> None:
    model = least_checkpoint().build()
    encode, decode = _run(AudioEncoder(model, 0.06)), _run(AudioDecoder(model, 0.06))
    check(model, 0.06, encode, decode)
    with pytest.raises(InputError, match="differ from the model's"):
        check(model, 0.06, lambda *arrays: wrong(encode(*arrays)), decode)
    with pytest.raises(InputError, match="differ from the model's"):
        check(model, 0.06, encode, lambda *arrays: wrong(decode(*arrays)))
