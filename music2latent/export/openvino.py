"""OpenVINO files."""

from __future__ import annotations

import warnings
from pathlib import Path

from torch import Tensor

from .facts import Facts
from .networks import Network
from .parity import Run


def write(network: Network, example: tuple[Tensor, ...], path: Path, facts: Facts, opset: int) -> None:
    """An `.xml` with the facts under `rt_info/music2latent`, and its weights in a `.bin` beside it."""
    import openvino

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = openvino.convert_model(network, example_input=example)
    for port, name in zip(model.inputs, network.inputs, strict=True):
        port.set_names({name})
    model.output().set_names(set(network.output))
    for key, value in facts.items():
        model.set_rt_info(value, ["music2latent", key])
    openvino.save_model(model, path, compress_to_fp16=facts["weights"] == "float16")


def load(path: Path) -> Run:
    """The file as a function of arrays."""
    import openvino

    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda *arrays: compiled(list(arrays))[0]
