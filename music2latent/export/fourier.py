"""The Fourier transform of real segments as two small matrix products.

Exporters know no complex numbers; ONNX has an operator for the STFT, but not every runtime, and none for its inverse.
As one matrix the transform would have 16 MB. So N = P Q, n = Q p + q, k = u + P v, and

    X[u + P v] = sum_q e^(-2 pi i q v / Q)  e^(-2 pi i q u / N)  sum_p e^(-2 pi i p u / P)  x[Q p + q]

(Cooley and Tukey 1965, with two factors): a tenth of the arithmetic, and 60 KB.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class Fourier(nn.Module):
    """The lower N / 2 bins of the transform of N real numbers, N a multiple of 4, and back."""

    outer: Tensor
    twiddles: Tensor
    inner: Tensor
    scale: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.p = next(p for p in range(int(size**0.5), 0, -1) if size % (2 * p) == 0)
        self.q = size // self.p
        p, q = np.arange(self.p), np.arange(self.q)
        outer = _roots(np.outer(p, p), self.p)  # [u, p]
        twiddles = _roots(np.outer(p, q), size)  # [u, q]
        inner = _roots(np.outer(q, q[: self.q // 2]), self.q)  # [q, v]
        constants = {
            "outer": np.concatenate([outer.real, outer.imag]),
            "twiddles": np.stack([twiddles.real, twiddles.imag]),
            "inner": np.block([[inner.real, inner.imag], [-inner.imag, inner.real]]),
            "scale": np.array([1] + (size // 2 - 1) * [2]) / size,  # the upper bins mirror all but the first
        }
        for name, values in constants.items():
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, T, N]` -> real and imaginary parts `[B, 2, N / 2, T]`."""
        batch, columns, _ = x.shape
        real, imag = (self.outer @ x.reshape(batch, columns, self.p, self.q)).chunk(2, dim=2)  # each [B, T, u, q]
        cos, sin = self.twiddles
        turned = torch.cat([real * cos - imag * sin, real * sin + imag * cos], dim=3)
        bins = (turned @ self.inner).reshape(batch, columns, self.p, 2, self.q // 2)  # [B, T, u, 2, v]
        return bins.permute(0, 3, 4, 2, 1).flatten(2, 3)

    def inverse(self, bins: Tensor) -> Tensor:
        """`[B, 2, N / 2, T]` -> `[B, T, N]`: but for its scale, the transform's transpose."""
        batch, _, _, columns = bins.shape
        scaled = (bins * self.scale[:, None]).reshape(batch, 2, self.q // 2, self.p, columns)  # [B, 2, v, u, T]
        real, imag = (scaled.permute(0, 4, 3, 1, 2).flatten(3) @ self.inner.T).chunk(2, dim=3)  # each [B, T, u, q]
        cos, sin = self.twiddles
        turned = torch.cat([real * cos + imag * sin, imag * cos - real * sin], dim=2)
        return (self.outer.T @ turned).flatten(2)


def _roots(turns: np.ndarray, size: int) -> np.ndarray:
    """e^(-2 pi i turns / size)."""
    roots: np.ndarray = np.exp(-2j * np.pi * (turns % size) / size)
    return roots
