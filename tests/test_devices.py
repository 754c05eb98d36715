"""Where to compute, and in what precision."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from music2latent import EncoderDecoder, InputError, devices
from music2latent.devices import available, resolve_device, resolve_dtype

CPUINFO = Path("/proc/cpuinfo")


REFUSED: list[Any] = [
    *("gpu", "vulkan", "fpga", "xpu", "meta", "", "CPU", "cpu:1", "cuda:", "cuda:-1", "cuda:x", "cuda:1e3", "cuda:٣"),
    *("cuda\n", "mps:2", "x" * 10**5, -1, True, 1.5, b"cpu", torch.device("meta"), ["cpu"]),
]


@pytest.mark.parametrize("device", REFUSED)
def test_devices_of_no_use_are_refused_with_those_that_are_here(device: Any) -> None:
    with pytest.raises(
        InputError, match=r"^device .*; accepted: cpu, cuda, cuda:1 \(or .*\), mps; here: cpu"
    ) as refused:
        resolve_device(device)
    assert len(str(refused.value)) < 200


def test_what_is_not_here_is_said_with_what_is() -> None:
    for device in [name for name in ("cuda", "mps") if not any(one.startswith(name) for one in available())]:
        with pytest.raises(InputError, match=rf"^device '{device}' is not usable here; what is: cpu"):
            EncoderDecoder(device=device)
    with pytest.raises(InputError, match=r"^device 'cuda:99' is not usable here; what is: cpu"):
        resolve_device(99)


def test_accepted_devices() -> None:
    for device in ("cpu", "cpu:0", torch.device("cpu")):
        assert resolve_device(device) == torch.device(device)
    for name in available():
        assert resolve_device(name) == torch.device(name)


@pytest.mark.parametrize(
    ("here", "fastest"), [(["cpu"], "cpu"), (["cpu", "mps"], "mps"), (["cpu", "cuda:0", "cuda:1"], "cuda")]
)
def test_the_fastest_is_the_default(here: list[str], fastest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda: here)
    assert resolve_device(None) == torch.device(fastest)


@pytest.mark.parametrize("dtype", ["int8", torch.int8, "", None, 16, ["float32"], "x" * 10**5])
def test_refused_dtypes(dtype: Any) -> None:
    with pytest.raises(InputError, match="^dtype .*; accepted: auto, float32, bfloat16, float16$"):
        resolve_dtype(dtype, torch.device("cpu"))


@pytest.mark.skipif(not CPUINFO.exists(), reason="no /proc/cpuinfo")
def test_auto_is_bfloat16_where_the_processor_has_it() -> None:
    flags = set(re.findall(r"avx512_bf16|amx_bf16|\bbf16\b", CPUINFO.read_text()))
    expected = torch.bfloat16 if flags & {"avx512_bf16", "amx_bf16"} else torch.float32
    assert resolve_dtype("auto", torch.device("cpu")) == expected
    assert resolve_dtype("auto", torch.device("meta")) == torch.float32


def test_without_autocast_products_keep_their_precision() -> None:
    numbers = torch.full((2, 2), 1.001)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (numbers @ numbers).dtype == torch.bfloat16
        with devices.without_autocast(numbers.device):
            assert torch.equal(numbers @ numbers, torch.full((2, 2), 2 * 1.001**2))
