"""Optional dependencies: what each extra of the package brings, and one check for it before any work is done."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from .errors import InputError

EXTRAS = {
    "media": ("av",),
    "plot": ("matplotlib",),
    "dataset": ("fsspec", "pyarrow"),
    "ray": ("fsspec", "pyarrow", "ray"),
    "train": ("accelerate",),  # TensorBoard comes along, and training goes on without it
    "evaluate": (
        *("auraloss", "av", "jinja2", "librosa", "matplotlib", "psutil", "pyloudnorm"),
        *("scipy", "sklearn", "torchmetrics", "visqol"),
    ),
    "transformers": ("transformers",),
    "lightning": ("pytorch_lightning",),
    "export": ("onnx", "onnxruntime", "openvino"),
    "fad": ("frechet_audio_distance",),
    "demo": ("gradio", "matplotlib"),
    "live": ("sounddevice",),
}
"""Import names of the packages of every extra in pyproject.toml."""


def missing(extra: str) -> list[str]:
    """The packages of an extra that are not installed, found out without importing them."""
    return _missing(EXTRAS[extra])


def pip_line(extra: str) -> str:
    """What installs an extra."""
    return f"pip install 'music2latent[{extra}]'"


def require(extra: str) -> None:
    """Find out whether an extra is installed.

    Raises:
        InputError: a package of it is missing; with the line that installs it.
    """
    require_packages(EXTRAS[extra], pip_line(extra))


def require_packages(names: Iterable[str], line: str) -> None:
    """The same for packages by their import names, which this line installs."""
    if absent := _missing(names):
        raise InputError(f"{', '.join(absent)} not installed; run: {line}")


def _missing(names: Iterable[str]) -> list[str]:
    return [name for name in names if find_spec(name) is None]
