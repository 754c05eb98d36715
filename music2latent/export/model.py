"""A model -> a folder of files for another runtime."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..checkpoint import Checkpoint
from ..errors import InputError
from ..extras import pip_line, require_packages
from ..files import check_free, check_suffix, replacing
from . import onnx, openvino, torchscript
from .facts import facts_of
from .networks import AudioDecoder, AudioEncoder
from .parity import TRACED, Parity, Run, check, example
from .weights import check_weights, store

FACTS = "facts.json"


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file: how it is written, and loaded to be checked."""

    suffix: str
    needs: tuple[str, ...]
    write: Callable[..., None]
    load: Callable[[Path], Run]


FORMATS = {
    "onnx": Format(suffix=".onnx", needs=("onnx", "onnxruntime"), write=onnx.write, load=onnx.load),
    "torchscript": Format(suffix=".ts", needs=(), write=torchscript.write, load=torchscript.load),
    "openvino": Format(suffix=".xml", needs=("onnx", "openvino"), write=openvino.write, load=openvino.load),
}
"""What becomes a folder."""
NN_TILDE = "nn-tilde"
"""What becomes one file, an instrument for nn~."""


def check_target(
    kind: str, target: Path, *, weights: str = "float32", opset: int = onnx.OPSETS[0], force: bool = False
) -> None:
    """Refuse what cannot become an export, before a model is loaded.

    Raises:
        InputError: see `export_model`.
    """
    if kind not in (*FORMATS, NN_TILDE):
        raise InputError(f"no export to {kind!r:.40}; accepted: {', '.join(FORMATS)}, {NN_TILDE}")
    check_weights(weights)
    if opset not in onnx.OPSETS:
        raise InputError(f"opset {opset}; accepted: {onnx.OPSETS[0]} to {onnx.OPSETS[-1]}")
    if kind == NN_TILDE:
        require_packages(("nn_tilde", "cached_conv"), "pip install --no-deps nn-tilde cached-conv")
        check_suffix(target, ".ts", "instruments for nn~")
        check_free(target, force)
        return
    require_packages(FORMATS[kind].needs, pip_line("export"))
    for name in _names(kind):
        check_free(target / name, force)


def export_model(
    checkpoint: Checkpoint,
    kind: str,
    target: str | os.PathLike[str],
    *,
    weights: str = "float32",
    opset: int = onnx.OPSETS[0],
    force: bool = False,
) -> list[Parity]:
    """Write a model's encoder and one-step decoder, from audio to latents and back, for another runtime.

    `networks.AudioEncoder` and `AudioDecoder` say what goes in and out; batch and length may vary. `facts.json` holds
    what a caller must know beside that (rate, sizes, chunks), as does every file.

    Args:
        checkpoint: the model, `load_checkpoint("mini")`.
        kind: one of `FORMATS`, or `nn-tilde`.
        target: a folder, made if need be; for nn~ a file that ends in `.ts`.
        weights: one of `weights.WEIGHTS`, how they are stored; the files compute in float32 in any case.
        opset: of ONNX files.
        force: whether files that exist are overwritten.

    Returns:
        The files' errors against the package, at lengths that they were not traced at.

    Raises:
        InputError: an unknown kind, opset or precision, a package that is not installed, a folder that cannot be
            written to, files that exist, or networks that do not compute the same as the model's; nothing is left then.
    """
    target = Path(target)
    check_target(kind, target, weights=weights, opset=opset, force=force)
    place = replacing(target) if kind == NN_TILDE else _staging(target)
    with place as partial, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, and of PyTorch on TorchScript, which hosts go on loading
        if kind == NN_TILDE:
            partial.touch()  # what cannot be written is said before there is work
        model = checkpoint.build().float().use_plain_layers().requires_grad_(False)
        store(model, weights)
        facts, scale = facts_of(checkpoint, weights), checkpoint.latent_scale
        encoder, decoder = AudioEncoder(model, scale).eval(), AudioDecoder(model, scale).eval()
        if kind == NN_TILDE:
            from . import nn_tilde

            nn_tilde.write(encoder, decoder, model.config, partial, facts)
            return check(model, scale, *nn_tilde.load(partial))
        form = FORMATS[kind]
        audio, *latents = example(model.config, *TRACED)
        paths = [partial / f"{name}{form.suffix}" for name in ("encoder", "decoder")]
        form.write(encoder, (audio,), paths[0], facts, opset)
        form.write(decoder, tuple(latents), paths[1], facts, opset)
        (partial / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        return check(model, scale, *map(form.load, paths))


def _names(kind: str) -> list[str]:
    suffixes = [FORMATS[kind].suffix, *([".bin"] if kind == "openvino" else [])]
    return [f"{name}{suffix}" for name in ("encoder", "decoder") for suffix in suffixes] + [FACTS]


@contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """A folder inside the target, whose files move up when all are there, and are removed on any failure."""
    made = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=target))
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error}); name another folder") from error
    try:
        yield folder
        for path in folder.iterdir():
            path.replace(target / path.name)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if made:
            with suppress(OSError):  # there are files in it
                target.rmdir()
