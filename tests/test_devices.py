"""Where to compute, and in what precision."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from music2latent import EncoderDecoder, InputError
from music2latent.devices import resolve_dtype

CPUINFO = Path("/proc/cpuinfo")


def test_refused_devices_and_dtypes() -> None:
    with pytest.raises(InputError, match="device 'gpu' is not usable here"):
        EncoderDecoder(device="gpu")
    with pytest.raises(InputError, match="dtype 'int8'; accepted: auto, float32, bfloat16, float16"):
        EncoderDecoder(dtype="int8")
    with pytest.raises(InputError, match=r"dtype 'torch.int8'"):
        EncoderDecoder(dtype=torch.int8)


@pytest.mark.skipif(not CPUINFO.exists(), reason="no /proc/cpuinfo")
def test_auto_is_bfloat16_where_the_processor_has_it() -> None:
    flags = set(re.findall(r"avx512_bf16|amx_bf16|\bbf16\b", CPUINFO.read_text()))
    expected = torch.bfloat16 if flags & {"avx512_bf16", "amx_bf16"} else torch.float32
    assert resolve_dtype("auto", torch.device("cpu")) == expected
    assert resolve_dtype("auto", torch.device("meta")) == torch.float32
