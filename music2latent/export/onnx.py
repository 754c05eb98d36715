"""ONNX files, and ONNX Runtime to check them with."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .facts import Facts
from .networks import Network
from .parity import Run

OPSETS = range(17, 21)


def write(network: Network, example: tuple[Tensor, ...], path: Path, facts: Facts, opset: int) -> None:
    """One file with the weights inside and the facts in its metadata."""
    import onnx

    # The exporter that traces: the newer one, over torch.export, takes twenty times as long for the same graph.
    torch.onnx.export(
        network,
        example,
        str(path),
        dynamo=False,
        opset_version=opset,
        do_constant_folding=facts["weights"] == "float32",  # or weights would be stored as floats again
        input_names=list(network.inputs),
        output_names=list(network.output),
        dynamic_axes=network.inputs | network.output,
    )
    model = onnx.load(path)
    for node in model.graph.node:  # Python's numbers come out as doubles, which runtimes in browsers do not convert
        for value in node.attribute:
            if node.op_type == "Constant" and value.t.data_type == onnx.TensorProto.DOUBLE:
                value.t.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(value.t).astype("float32")))
    onnx.helper.set_model_props(model, facts)
    model.producer_name = "music2latent"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def load(path: Path) -> Run:
    """The file as a function of arrays."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))[0]
