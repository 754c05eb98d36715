"""OpenVINO files."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from . import onnx
from .facts import Facts
from .networks import Network
from .parity import Run


def write(network: Network, example: tuple[Tensor, ...], path: Path, facts: Facts, opset: int) -> None:
    """An `.xml` with the facts under `rt_info/music2latent`, and its weights in a `.bin` beside it.

    By way of ONNX: OpenVINO's converter of PyTorch's models reports its use over the network.
    """
    import openvino

    between = path.with_suffix(".onnx")
    onnx.write(network, example, between, facts, opset)
    model = openvino.Core().read_model(between)
    between.unlink()
    for key, value in facts.items():
        model.set_rt_info(value, ["music2latent", key])
    openvino.save_model(model, path, compress_to_fp16=False)  # it would round biases and the transform as well


def load(path: Path) -> Run:
    """The file as a function of arrays."""
    import openvino

    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda *arrays: compiled(list(arrays))[0]
