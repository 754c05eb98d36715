"""The fused group normalisation: PyTorch's results, in channels_last, whatever else is in the batch."""

from __future__ import annotations

import ctypes
import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from music2latent.nn import fused
from music2latent.nn.layers import GroupNorm

linux = pytest.mark.skipif(sys.platform != "linux", reason="used on Linux only")
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


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of this test's own, and in place of a compiler `cp`, which puts there what was built already."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler = tmp_path / "bin" / "compiler"
    compiler.parent.mkdir()
    compiler.write_text(
        f'#!/bin/sh\necho >> {tmp_path}/bin/calls\nfor last; do :; done\ncp {fused.load()[1]} "$last"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    return tmp_path


def _load() -> tuple[Any, str]:
    """As in a new process."""
    return fused.load.__wrapped__()


def _compiled(home: Path) -> int:
    calls = home / "bin" / "calls"
    return len(calls.read_text().splitlines()) if calls.exists() else 0


def _kept(home: Path) -> Path:
    (path,) = (home / "music2latent").iterdir()
    return path


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("MUSIC2LATENT_FUSED", "0", "MUSIC2LATENT_FUSED=0 is set"),
        ("CXX", "no-such-compiler -O3", "no C.. compiler 'no-such-compiler -O3'; install one, or name one in CXX"),
        ("CXX", "'", "no C.. compiler"),
        ("CXX", "/", "no C.. compiler"),
        ("PATH", "", "no C.. compiler 'c..'"),
    ],
)
@linux
def test_without_a_compiler_there_is_none(
    variable: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(variable, value)
    found, said = _load()
    assert found is None
    assert re.match(why, said)
    assert not list(tmp_path.iterdir())


@linux
@pytest.mark.parametrize("compiler", ["false", "true", "cat", "sh -c 'echo made of glass >&2; exit 1'"])
def test_a_compiler_that_fails_leaves_nothing_behind_and_is_said_once(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", compiler)
    with pytest.warns(UserWarning, match="cannot be built or loaded: .*; PyTorch's runs instead") as warned:
        assert _load()[0] is None
    assert len(warned) == 1
    assert ("made of glass" in str(warned[0].message)) == ("glass" in compiler)
    assert not list((tmp_path / "music2latent").iterdir())


@linux
def test_empty_variables_are_as_if_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "")
    expected = shutil.which("c++")
    assert fused._compiler() == ([expected] if expected else [])
    monkeypatch.setenv("CXX", "sh -c x")
    assert fused._compiler()[1:] == ["-c", "x"]


@needs_compiler
def test_it_is_compiled_once(home: Path) -> None:
    first, path = _load()
    assert first is not None
    assert _load()[1] == path == str(_kept(home))
    assert _compiled(home) == 1
    assert _kept(home).parent.stat().st_mode & 0o777 == 0o700


def _rewrite(path: Path, content: bytes) -> None:
    path.unlink()  # a new file: the old one is mapped into this process
    path.write_bytes(content)
    path.chmod(0o700)


def _truncate(path: Path) -> None:
    _rewrite(path, path.read_bytes()[:20000])  # loading it would end this process with signal 7


def _empty(path: Path) -> None:
    _rewrite(path, b"")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    _rewrite(path, bytes(content))


def _let_others_write(path: Path) -> None:
    path.chmod(0o777)


@needs_compiler
@pytest.mark.parametrize("damage", [_truncate, _empty, _flip, _let_others_write])
def test_what_was_touched_is_never_loaded_but_compiled_again(home: Path, damage: Callable[[Path], None]) -> None:
    _load()
    damage(_kept(home))
    found, path = _load()
    assert found is not None
    assert _compiled(home) == 2
    assert path == str(_kept(home))
    assert _kept(home).stat().st_mode & 0o777 == 0o700
    assert _load()[0] is not None
    assert _compiled(home) == 2


@needs_compiler
@pytest.mark.parametrize("whose", ["file", "folder"])
def test_what_belongs_to_another_user_is_never_loaded(home: Path, whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _load()
    kept = _kept(home)
    other = kept if whose == "file" else kept.parent
    real = Path.stat

    def stat(path: Path, **options: Any) -> Any:
        found = real(path, **options)
        return os.stat_result((*found[:4], os.getuid() + 1, *found[5:10])) if path == other else found

    monkeypatch.setattr(Path, "stat", stat)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: pytest.fail("loaded") if _compiled(home) == 1 else MagicMock())
    if whose == "file":
        assert _load()[0] is not None
        assert _compiled(home) == 2
    else:
        with pytest.warns(UserWarning, match=r"others may write to .*music2latent; make it yours alone \(chmod 700\)"):
            assert _load()[0] is None


@needs_compiler
def test_a_folder_that_others_may_write_to_is_not_used(home: Path) -> None:
    _load()
    (home / "music2latent").chmod(0o775)
    with pytest.warns(UserWarning, match="others may write to"):
        assert _load()[0] is None


@needs_compiler
def test_a_library_that_lacks_a_symbol(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "empty.cpp").write_text("")
    monkeypatch.setattr(fused, "SOURCE", home / "empty.cpp")
    monkeypatch.setattr(fused, "FLAGS", ("-shared", "-fPIC"))
    monkeypatch.delenv("CXX")
    with pytest.warns(UserWarning, match="undefined symbol: group_norm_forward") as warned:
        assert _load()[0] is None
    assert len(warned) == 1


@needs_compiler
def test_a_user_without_a_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "cache_folder", lambda: None)
    with pytest.warns(UserWarning, match="this user has no home to keep it in; set XDG_CACHE_HOME"):
        assert _load()[0] is None


@needs_compiler
def test_a_cache_that_cannot_be_written(home: Path) -> None:
    (home / "music2latent").write_bytes(b"")
    with pytest.warns(UserWarning, match="File exists"):
        assert _load()[0] is None


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
