"""export."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..helpers import Result, check_refused


def test_export(tmp_path: Path, model: str) -> None:
    done = Result("export", "torchscript", model, tmp_path / "new", "--weights", "float16")
    assert done.code == 0, done.err
    assert done.err.count("difference from the model") == 3
    assert done.out.startswith(f"{tmp_path / 'new'}: tiny, ")
    check_refused(tmp_path, "exists already", "export", "torchscript", model, tmp_path / "new")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tflite", "mini"), "no export to 'tflite'; accepted: onnx, torchscript, openvino, nn-tilde"),
        (("onnx", "mini", "--opset", 9), "opset 9; accepted: 17 to 20"),
        (("onnx", "mini", "--weights", "int4"), "accepted: float32, float16, int8"),
        (("onnx", "nothing"), "unknown model"),
    ],
)
def test_refused(tmp_path: Path, arguments: tuple[object, ...], message: str) -> None:
    kind, model, *options = arguments
    check_refused(tmp_path, message, "export", kind, model, tmp_path / "new", *options)
    (tmp_path / "file").touch()
    check_refused(tmp_path, "file: cannot be written", "export", "torchscript", "mini", tmp_path / "file")
