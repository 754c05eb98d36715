"""Weights in fewer bits: how far they may be from what they were, and what stays."""

from __future__ import annotations

import pytest
import torch

from music2latent import InputError
from music2latent.export.weights import check_weights, store

from ..helpers import reference_checkpoint


@pytest.mark.parametrize(("kind", "bits"), [("float32", 32), ("float16", 16), ("int8", 8)])
def test_matrices_are_rounded_and_all_else_stays(kind: str, bits: int) -> None:
    before, model = reference_checkpoint("tiny").build(), reference_checkpoint("tiny").build()
    store(model, kind)
    size = sum(weight.nbytes for weight in model.parameters())
    assert size < 1.1 * bits / 32 * sum(weight.nbytes for weight in before.parameters())
    for path, module in before.named_modules():
        for name, weight in module.named_parameters(recurse=False):
            now = getattr(model.get_submodule(path), name)
            assert now.dtype == torch.float32
            if kind == "float32" or weight.ndim < 2 or not name.endswith("weight"):
                assert torch.equal(now, weight)
            else:
                greatest = weight.flatten(1).abs().amax(1)
                error = (now - weight).flatten(1).abs().amax(1)
                assert bool((error <= greatest * (2**-11 if kind == "float16" else 0.501 / 127)).all())


def test_what_cannot_be_stored_is_refused() -> None:
    with pytest.raises(InputError, match="accepted: float32, float16, int8"):
        check_weights("int4")
    model = reference_checkpoint("tiny").build()
    model.encoder.conv_inp.weight.data[0, 0, 0, 0] = 1e6
    with pytest.raises(InputError, match=r"encoder.conv_inp.weight is beyond float16's 65504"):
        store(model, "float16")
