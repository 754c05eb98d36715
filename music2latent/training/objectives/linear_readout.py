"""The linear map that tells one thing from another as well as any can."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ...devices import without_autocast
from .batch import Head

DECAY = 0.99
"""Of the running covariances, per iteration."""
RIDGE = 1e-3
"""Relative to the inputs' mean square."""


class LinearReadout(Head):
    """A ridge regression on running covariances of earlier iterations: always fitted, and a constant to the gradient
    (variable projection, Golub and Pereyra 1973). A map that is itself descended lags behind what it reads."""

    inner: Tensor
    cross: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("inner", torch.zeros(inputs + 1, inputs + 1))
        self.register_buffer("cross", torch.zeros(inputs + 1, outputs))
        self._seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """`[B, D, ...]` and `[B, outputs, ...]` -> what the map says of the inputs, `[B, outputs, ...]`. `learn` will
        fit it to the targets; before the first time it says 0."""
        with without_autocast(inputs.device):
            x = F.pad(inputs.float().transpose(1, -1), (0, 1), value=1.0)
            with torch.no_grad():
                rows, wanted = x.flatten(0, -2), targets.float().transpose(1, -1).flatten(0, -2)
                self._seen.append((rows.T @ rows / len(rows), rows.T @ wanted / len(rows)))
                ridge = (RIDGE * self.inner.diagonal().mean() + 1e-12) * torch.eye(len(self.inner), device=x.device)
                weights = torch.linalg.solve(self.inner + ridge, self.cross)
            return (x @ weights).transpose(1, -1)

    def learn(self, mean: Callable[[Tensor], Tensor] = lambda own: own) -> None:
        for running, seen in zip((self.inner, self.cross), zip(*self._seen, strict=True), strict=True):
            running.lerp_(mean(torch.stack(seen).mean(0)), 1 - DECAY)
        self.forget()

    def forget(self) -> None:
        self._seen.clear()
