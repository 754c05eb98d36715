"""The fused group normalisation: PyTorch's results, in channels_last, whatever else is in the batch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from music2latent.nn import fused
from music2latent.nn.layers import GroupNorm

needs_compiler = pytest.mark.skipif(fused.library() is None, reason="no C++ compiler")
SHAPES = [(3, 8, 33, 7), (1, 16, 300, 40), (2, 48, 65, 70), (2, 128, 130, 40), (1, 1024, 3, 2)]


def _inputs(shape: tuple[int, ...], mean: float = 3.0) -> tuple[Tensor, ...]:
    """x, shift, weight, bias and the gradient of the result; the mean is far from zero, as sums of squares mind."""
    generator = torch.Generator().manual_seed(0)
    sizes = (shape, shape[:2], shape[1:2], shape[1:2], shape)
    x, shift, weight, bias, dy = (torch.randn(size, generator=generator) for size in sizes)
    return (x * 2 + mean).to(memory_format=torch.channels_last), shift, weight, bias, dy


def _plain(x: Tensor, weight: Tensor, bias: Tensor, shift: Tensor, groups: int, eps: float, silu: bool) -> Tensor:
    y = F.group_norm(x + shift[:, :, None, None], groups, weight, bias, eps)
    return F.silu(y) if silu else y


@needs_compiler
@pytest.mark.parametrize("silu", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_those_of_pytorch_in_float64(shape: tuple[int, ...], silu: bool) -> None:
    x, shift, weight, bias, dy = _inputs(shape)
    groups = min(shape[1] // 4, 32)
    found: list[Any] = []
    expected: list[Any] = []
    sides: list[Any] = [(found, fused.group_norm, torch.float32), (expected, _plain, torch.float64)]
    for results, call, dtype in sides:
        leaves = [t.detach().to(dtype).requires_grad_() for t in (x, weight, bias, shift)]
        y = call(*leaves, groups, 1e-5, silu)
        y.backward(dy.to(dtype))
        results += [y.detach(), *(leaf.grad for leaf in leaves)]
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 3e-6 * other.abs().max()


@needs_compiler
def test_bfloat16_is_float32_rounded() -> None:
    x, shift, weight, bias, _ = _inputs((2, 32, 40, 24))
    x = x.bfloat16()
    exact = fused.group_norm(x.float(), weight, bias, shift, 8, 1e-5, True)
    assert torch.equal(fused.group_norm(x, weight, bias, shift, 8, 1e-5, True), exact.bfloat16())


@needs_compiler
def test_an_item_does_not_depend_on_the_batch() -> None:
    x, shift, weight, bias, dy = _inputs((5, 16, 128, 48))
    x.requires_grad_()
    together = fused.group_norm(x, weight, bias, shift, 4, 1e-5, True)
    (gradient,) = torch.autograd.grad(together, x, dy)
    for i in range(len(x)):
        item = x[i : i + 1].detach().clone(memory_format=torch.channels_last).requires_grad_()
        alone = fused.group_norm(item, weight, bias, shift[i : i + 1], 4, 1e-5, True)
        assert torch.equal(alone, together[i : i + 1])
        assert torch.equal(torch.autograd.grad(alone, item, dy[i : i + 1])[0], gradient[i : i + 1])


@needs_compiler
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    """The trainer skips such steps; a kernel that repaired them would hide the cause."""
    for dtype in (torch.float32, torch.bfloat16):
        x, shift, weight, bias, _ = _inputs((1, 8, 64, 8))
        x[0, 0, 3, 3] = bad
        y = fused.group_norm(x.to(dtype), weight, bias, shift, 2, 1e-5, True)
        assert not y[0, :4].isfinite().any()
        assert y[0, 4:].isfinite().all()


@needs_compiler
def test_one_loud_constant_loses_nothing() -> None:
    """Sums of squares around zero would cancel: a variance of 1 beside a mean of 10000."""
    x, shift, weight, bias, _ = _inputs((1, 8, 64, 64), mean=1e4)
    found = fused.group_norm(x, weight, bias, 0 * shift, 2, 1e-5, False)
    expected = F.group_norm(x.double(), 2, weight.double(), bias.double(), 1e-5)
    assert (found - expected).abs().max() < 3e-3  # x itself is only known to 1e-3


def test_layer_gives_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    x, shift, *_ = _inputs((2, 16, 32, 8))
    norm = GroupNorm(16)
    one = norm(x, shift=shift, silu=True)
    monkeypatch.setattr(fused, "library", lambda: None)
    assert (norm(x, shift=shift, silu=True) - one).abs().max() < 1e-5


@pytest.mark.parametrize("why", ["MUSIC2LATENT_FUSED", "CXX"])
def test_without_a_compiler_there_is_none(why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(why, "0" if why == "MUSIC2LATENT_FUSED" else "no-such-compiler")
    assert fused.library.__wrapped__() is None
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(fused.library() is None, reason="no C++ compiler")
def test_a_compiler_that_fails_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "false")
    assert fused.library.__wrapped__() is None
    assert not list(tmp_path.rglob("*.so"))


@needs_compiler
def test_a_map_is_written_over_only_where_nobody_needs_it() -> None:
    x, shift, weight, bias, _ = _inputs((2, 16, 32, 8))
    kept = x.clone(memory_format=torch.channels_last)
    x.requires_grad_()
    y = fused.group_norm(x, weight, bias, shift, 4, 1e-5, True, reuse=True)  # the gradient needs it
    assert torch.equal(x, kept)
    with torch.no_grad():
        over = fused.group_norm(x, weight, bias, shift, 4, 1e-5, True, reuse=True)
    assert over.data_ptr() == x.data_ptr()
    assert torch.equal(over, y)
