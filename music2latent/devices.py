"""Where to compute, and in what precision."""

from __future__ import annotations

import ctypes
import re
import sys

import torch
from torch.amp.autocast_mode import is_autocast_available

from .errors import InputError


def available() -> list[str]:
    """Names of the devices that are here, the fastest last."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return ["cpu", *mps, *(f"cuda:{index}" for index in range(gpus))]


def resolve_device(device: str | int | torch.device | None) -> torch.device:
    """The device asked for, or the fastest there is; a whole number is that of a CUDA device.

    Raises:
        InputError: one that cannot be used here.
    """
    if device is None:
        return torch.device(available()[-1].partition(":")[0])
    name = f"cuda:{device}" if type(device) is int else str(device)
    if not re.fullmatch(r"(cpu|mps)(:0)?|cuda(:\d{1,2})?", name, re.ASCII):
        here = ", ".join(available())
        raise InputError(f"device {name!r:.80}; accepted: cpu, cuda, cuda:1 (or another number), mps; here: {here}")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device {name!r} is not usable here; what is: {', '.join(available())}") from error
    return torch.device(name)


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype asked for; `auto` is bfloat16 where the device multiplies it natively, else float32.

    Raises:
        InputError: anything but auto, float32, bfloat16 and float16.
    """
    names = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if dtype == "auto":
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    if isinstance(dtype, torch.dtype) and dtype in names.values():
        return dtype
    if not isinstance(dtype, str) or dtype not in names:
        raise InputError(f"dtype {str(dtype)!r:.80}; accepted: auto, {', '.join(names)}")
    return names[dtype]


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the hardware does, so that it is faster than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    if not hasattr(torch.cpu, "get_capabilities"):  # PyTorch 2.6 has no public way to ask
        return bool(torch.cpu._is_avx512_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def without_autocast(device: torch.device) -> torch.autocast:
    """A context in which products keep the dtype of their operands."""
    return torch.autocast(device.type if is_autocast_available(device.type) else "cpu", enabled=False)


def keep_freed_memory() -> None:
    """Let the process keep large blocks of memory for the next use, instead of having each zeroed anew by the system.

    A training step frees and takes gigabytes; without this a sixth of its time goes to page faults. Linux (glibc) only;
    elsewhere nothing happens. The price: freed memory shows as used until the process ends.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_threshold = -1, -3  # of malloc.h
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)
