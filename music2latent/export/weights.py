"""Weights in fewer bits: rounded in the file, and floats again where they are used."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import InputError

WEIGHTS = ("float32", "float16", "int8")


def check_weights(kind: str) -> None:
    """Refuse what weights are not stored as.

    Raises:
        InputError: anything but `WEIGHTS`.
    """
    if kind not in WEIGHTS:
        raise InputError(f"weights = {kind!r}; accepted: {', '.join(WEIGHTS)}")


@torch.no_grad()
def store(model: nn.Module, kind: str) -> None:
    """Round the matrices and kernels of a model, in place; biases and normalisations, a few kilobytes, stay as they
    are.

    Raises:
        InputError: a weight that float16 cannot hold.
    """
    if kind == "float32":
        return
    for path, module in list(model.named_modules()):
        for name, weight in list(module.named_parameters(recurse=False)):
            if not name.endswith("weight") or weight.ndim < 2:
                continue
            if kind == "int8":
                greatest = weight.flatten(1).abs().amax(1).clamp(min=1e-30)
                scale = greatest.view(-1, *[1] * (weight.ndim - 1)) / 127  # one for every output channel
                stored = (weight / scale).round().to(torch.int8)
            else:
                scale, stored = None, weight.half()
                if not bool(stored.isfinite().all()):
                    raise InputError(f"{path}.{name} is beyond float16's 65504; export with --weights float32")
            setattr(module, name, nn.Parameter(stored, requires_grad=False))
            parametrize.register_parametrization(module, name, _Float(scale), unsafe=True)


class _Float(nn.Module):
    """What was rounded as float32 numbers."""

    scale: Tensor | None

    def __init__(self, scale: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("scale", scale)

    def forward(self, stored: Tensor) -> Tensor:
        return stored.float() if self.scale is None else stored.float() * self.scale
