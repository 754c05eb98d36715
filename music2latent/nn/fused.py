"""Group normalisation with SiLU in two passes over memory, where PyTorch makes many: `group_norm.cpp`, built by the
local compiler when first needed and kept in the user's cache. Without a compiler, or on a GPU, PyTorch's own runs."""

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..settings import cache_folder

SOURCE = Path(__file__).with_name("group_norm.cpp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
MOST_CHANNELS = 1024
"""WIDTH in the source."""
COMPILING_SECONDS = 300
"""A compiler that takes longer is given up: it takes four on a common machine."""


def library() -> ctypes.CDLL | None:
    """The compiled functions; None where they cannot be had, or `MUSIC2LATENT_FUSED=0` is in the environment."""
    return load()[0]


@cache
def load() -> tuple[ctypes.CDLL | None, str]:
    """The compiled functions and the file they are from; or None, and why PyTorch's run in their place.

    That is said in a warning where there is a compiler, so that they could be had.
    """
    if os.environ.get("MUSIC2LATENT_FUSED") == "0":
        return None, "MUSIC2LATENT_FUSED=0 is set"
    if sys.platform != "linux":
        return None, "used on Linux only"
    compiler = _compiler()
    if not compiler:
        return None, f"no C++ compiler {os.environ.get('CXX') or 'c++'!r}; install one, or name one in CXX"
    try:
        path = _build(compiler)
        found = ctypes.CDLL(str(path))
        size, pointer, number = ctypes.c_int64, ctypes.c_void_p, ctypes.c_int
        head = [number, size, size, size, size]  # bfloat16 or not, and the shape
        found.group_norm_forward.argtypes = [*head, *[pointer] * 4, ctypes.c_float, number, *[pointer] * 3]
        found.group_norm_backward.argtypes = [*head, *[pointer] * 7, number, *[pointer] * 2]
        found.group_norm_forward.restype = found.group_norm_backward.restype = None
    except (OSError, AttributeError, ValueError, subprocess.SubprocessError) as error:
        why = f"cannot be built or loaded: {_reason(error)}"
        warnings.warn(
            f"compiled group normalisation {why}; PyTorch's runs instead, slower (MUSIC2LATENT_FUSED=0 silences this)",
            stacklevel=2,
        )
        return None, why
    return found, str(path)


def _compiler() -> list[str]:
    """`CXX`, which may bring arguments (`ccache g++`), or `c++`; empty if there is no such program."""
    try:
        name, *arguments = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    except ValueError:  # a quotation that does not end
        return []
    found = shutil.which(name)
    return [found, *arguments] if found else []


def _build(compiler: list[str]) -> Path:
    """Compile, unless it was done before.

    The file's name holds a hash of source, compiler, flags and processor, and one of its own content: loading a damaged
    file would end the process. Another user's file could hold anything, so only files and folders of our own are used.
    """
    lines = Path("/proc/cpuinfo").read_text().splitlines()  # -march=native is for this processor only
    features = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    key = _digest(repr((SOURCE.read_bytes(), features, compiler, FLAGS)).encode())
    folder = cache_folder()
    if folder is None:
        raise OSError("this user has no home to keep it in; set XDG_CACHE_HOME")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _is_ours(folder):
        raise OSError(f"others may write to {folder}; make it yours alone (chmod 700), or set XDG_CACHE_HOME")
    for path in folder.glob(f"group_norm-{key}-*.so"):
        if _is_ours(path) and path.stem.endswith(_digest(path.read_bytes())):
            return path
        path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        partial = Path(scratch) / "group_norm.so"
        command = [*compiler, *FLAGS, str(SOURCE), "-o", str(partial)]
        silent = subprocess.DEVNULL  # nothing that stands in for a compiler waits for input, or fills memory
        subprocess.run(
            command, check=True, timeout=COMPILING_SECONDS, stdin=silent, stdout=silent, stderr=subprocess.PIPE
        )
        partial.chmod(0o700)
        return partial.replace(folder / f"group_norm-{key}-{_digest(partial.read_bytes())}.so")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _is_ours(path: Path) -> bool:
    """Whether it belongs to this user, and nobody else may write to it."""
    status = path.stat()
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid == os.getuid() and not others_write


def _reason(error: Exception) -> str:
    """In one line; a compiler's own first one."""
    said = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip() or str(error)
    return said.splitlines()[0]


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
