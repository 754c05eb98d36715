"""export: a model for another runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Force
from .output import say, tell


def export(
    kind: Annotated[str, typer.Argument(metavar="FORMAT", help="onnx, torchscript, openvino, or nn-tilde.")],
    model: Annotated[str, typer.Argument(help="mini (bundled), official, a path, or a repository id.")],
    target: Annotated[Path, typer.Argument(help="A folder to write to; for nn-tilde a .ts file.")],
    weights: Annotated[str, typer.Option(help="float32, float16 or int8: how weights are stored.")] = "float32",
    opset: Annotated[int, typer.Option(help="Version of the operators in ONNX files, 17 to 20.")] = 17,
    force: Force = False,
) -> None:
    """A model's encoder and decoder, from audio to latents and back, for another runtime."""
    from ..export.model import check_target, export_model
    from ..pretrained import load_checkpoint

    check_target(kind, target, weights=weights, opset=opset, force=force)
    checkpoint = load_checkpoint(model)
    for parity in export_model(checkpoint, kind, target, weights=weights, opset=opset, force=force):
        tell(f"difference from the model, {parity}")
    files = target.iterdir() if target.is_dir() else [target]
    say(f"{target}: {checkpoint.model_id}, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
