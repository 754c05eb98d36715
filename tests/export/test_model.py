"""Exporting: all files or none, and what is refused before a model is loaded."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from music2latent import InputError
from music2latent.export import model, torchscript
from music2latent.export.facts import facts_of
from music2latent.export.model import FORMATS, export_model

from ..helpers import disk_with, least_checkpoint


@pytest.mark.parametrize(
    ("kind", "weights"),
    [*product(("onnx", "torchscript"), ("float32", "float16", "int8")), ("openvino", "int8")],
)
def test_every_format_computes_what_the_model_does(kind: str, weights: str, tmp_path: Path) -> None:
    """Parity is checked as it is exported; here, that it is."""
    found = export_model(least_checkpoint(), kind, tmp_path, weights=weights)
    assert len(found) == 3
    assert max(max(one.encode, one.decode) for one in found) < 1e-4
    assert json.loads((tmp_path / "facts.json").read_text()) == facts_of(least_checkpoint(), weights)
    assert {path.name for path in tmp_path.iterdir()} == set(model._names(kind))


def test_what_exists_is_overwritten_only_by_force(tmp_path: Path) -> None:
    export_model(least_checkpoint(), "torchscript", tmp_path)
    with pytest.raises(InputError, match="exists already"):
        export_model(least_checkpoint(), "torchscript", tmp_path)
    export_model(least_checkpoint(), "torchscript", tmp_path, force=True)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("coreml", {}, "accepted: onnx, torchscript, openvino, nn-tilde"),
        ("onnx", {"weights": "int4"}, "accepted: float32, float16, int8"),
        ("onnx", {"opset": 9}, "opset 9; accepted: 17 to 20"),
    ],
)
def test_refused(kind: str, options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        export_model(least_checkpoint(), kind, tmp_path / "new", **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(model, "AudioEncoder", None)
    with pytest.raises(InputError, match=r"file: cannot be written \(File exists\); name another folder"):
        export_model(least_checkpoint(), "torchscript", tmp_path / "file")


def test_nothing_is_left_of_an_export_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("torchscript", "onnx"):
        with disk_with(3000), pytest.raises(InputError, match=r"full: cannot be written \(File too large\)"):
            export_model(least_checkpoint(), kind, tmp_path / "full")
    right = torchscript.load
    wrong = model.Format(
        suffix=".ts",
        needs=(),
        write=torchscript.write,
        load=lambda path: lambda *arrays: np.float32(1.1) * right(path)(*arrays),
    )
    monkeypatch.setitem(FORMATS, "torchscript", wrong)
    with pytest.raises(InputError, match="differ"):
        export_model(least_checkpoint(), "torchscript", tmp_path / "wrong")
    assert not list(tmp_path.iterdir())
