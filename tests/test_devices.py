"""Where to compute, and in what precision."""

from __future__ import annotations

import pytest
import torch

from music2latent import EncoderDecoder, InputError


def test_refused_devices_and_dtypes() -> None:
    with pytest.raises(InputError, match="device 'gpu' is not usable here"):
        EncoderDecoder(device="gpu")
    with pytest.raises(InputError, match="dtype 'int8'; accepted: auto, float32, bfloat16, float16"):
        EncoderDecoder(dtype="int8")
    with pytest.raises(InputError, match=r"dtype 'torch.int8'"):
        EncoderDecoder(dtype=torch.int8)
