"""Group normalisation with SiLU in two passes over memory, where PyTorch makes many: `group_norm.cpp`, built by the
local compiler when first needed and kept in the user's cache. Without a compiler, or on a GPU, PyTorch's own runs."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

SOURCE = Path(__file__).with_name("group_norm.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
MOST_CHANNELS = 1024
"""WIDTH in the source."""


@cache
def library() -> ctypes.CDLL | None:
    """The compiled functions; None where they cannot be had, or `MUSIC2LATENT_FUSED=0` is in the environment."""
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    if os.environ.get("MUSIC2LATENT_FUSED") == "0" or sys.platform != "linux" or compiler is None:
        return None
    try:
        found = ctypes.CDLL(str(_build(compiler)))
    except (OSError, subprocess.CalledProcessError) as error:
        logger.info("group normalisation stays PyTorch's: %s", error)
        return None
    size, pointer, number = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int
    head = [number, size, size, size, size]  # bfloat16 or not, and the shape
    found.group_norm_forward.argtypes = [*head, *[pointer] * 4, ctypes.c_float, number, *[pointer] * 3]
    found.group_norm_backward.argtypes = [*head, *[pointer] * 7, number, *[pointer] * 2]
    found.group_norm_forward.restype = found.group_norm_backward.restype = None
    return found


def _build(compiler: str) -> Path:
    """Compile, unless it was done before: the file's name is a hash of source, compiler, flags and processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()  # -march=native is for this processor only
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    key = hashlib.sha256(repr((SOURCE.read_bytes(), features, compiler, FLAGS)).encode()).hexdigest()[:16]
    path = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "music2latent" / f"group_norm-{key}.so"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, *FLAGS, str(SOURCE), "-o", str(partial)], check=True, capture_output=True)
        partial.replace(path)
    return path


def takes(x: Tensor) -> bool:
    """Whether `group_norm` can have this: a map in channels_last layout on the CPU, in float32 or bfloat16."""
    return (
        x.ndim == 4
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.shape[1] <= MOST_CHANNELS
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
        and not torch.compiler.is_compiling()
        and library() is not None
    )


def group_norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    shift: Tensor | None,
    groups: int,
    eps: float,
    silu: bool,
    reuse: bool = False,
) -> Tensor:
    """silu(group_norm(x + shift)) of a map `[B, C, F, T]` that `takes` accepts; shift `[B, C]`. With `reuse`, and
    without gradients, it is written over x.

    Differs from PyTorch's by rounding alone, and an item's result does not depend on the rest of the batch.
    """
    shift = None if shift is None else shift.float().contiguous()
    y: Tensor = _GroupNorm.apply(
        x, weight.float(), bias.float(), shift, groups, eps, silu, reuse and not torch.is_grad_enabled()
    )  # type: ignore[no-untyped-call]
    return y


def _head(x: Tensor, groups: int) -> tuple[int, ...]:
    batch, channels, bins, columns = x.shape
    return x.dtype == torch.bfloat16, batch, bins * columns, channels, groups


def _at(*tensors: Tensor | None) -> list[int | None]:
    return [None if tensor is None else tensor.data_ptr() for tensor in tensors]


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor | None, *options: Any) -> Tensor:
        groups, eps, silu, reuse = options
        y = x if reuse else torch.empty_like(x)
        mean, rstd = x.new_empty(2, len(x), groups, dtype=torch.float32)
        call: Any = library()
        call.group_norm_forward(*_head(x, groups), *_at(x, weight, bias, shift), eps, silu, *_at(y, mean, rstd))
        ctx.save_for_backward(x, weight, bias, shift, mean, rstd)
        ctx.groups, ctx.silu = groups, silu
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, shift, mean, rstd = ctx.saved_tensors
        dy = dy.to(x.dtype).contiguous(memory_format=torch.channels_last)
        dx, sums = torch.empty_like(x), x.new_empty(len(x), 3, x.shape[1], dtype=torch.float32)
        call: Any = library()
        call.group_norm_backward(
            *_head(x, ctx.groups), *_at(x, dy, weight, bias, shift, mean, rstd), ctx.silu, *_at(dx, sums)
        )
        d_bias, d_weight, d_shift = sums.unbind(1)
        return dx, d_weight.sum(0), d_bias.sum(0), None if shift is None else d_shift, None, None, None, None
