"""Optional dependencies: what each extra of the package brings, and one check for it before any work is done."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import InputError

EXTRAS = {
    "plot": ("matplotlib",),
    "train": ("accelerate",),  # TensorBoard comes along, and training goes on without it
    "evaluate": (
        *("auraloss", "av", "jinja2", "librosa", "matplotlib", "psutil", "pyloudnorm"),
        *("scipy", "sklearn", "torchmetrics", "visqol"),
    ),
    "fad": ("frechet_audio_distance",),
}
"""Import names of the packages of every extra in pyproject.toml."""


def require(extra: str) -> None:
    """Find out whether an extra is installed, without importing it.

    Raises:
        InputError: a package of it is missing; with the line that installs it.
    """
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise InputError(f"{', '.join(missing)} not installed; run: pip install 'music2latent[{extra}]'")
