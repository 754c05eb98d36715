"""Arrays of samples that a caller passes in: checked, and brought to float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .errors import InputError


def check_finite(audio: np.ndarray, name: str = "audio", offset: int = 0) -> np.ndarray:
    """Refuse NaN and infinite samples of `[..., n]`, naming the first one's position.

    Raises:
        InputError: there is one.
    """
    if not np.isfinite(audio).all():
        bad = int(np.argwhere(~np.isfinite(audio))[:, -1].min())
        raise InputError(f"{name}: NaN or infinite at sample {offset + bad}; samples must be finite, in [-1, 1]")
    return audio


_INTEGER_SCALES = {"int8": 2**7, "uint8": 2**7, "int16": 2**15, "uint16": 2**15, "int32": 2**31}


def as_float(audio: Any, *, allow_empty: bool = False) -> torch.Tensor:
    """An array or tensor of samples, any axes with time last, as a float32 tensor on its own device.

    Integers are scaled by their range (unsigned ones are centred, as 8-bit WAV files are). Gradients are kept.

    Raises:
        InputError: no samples, NaN or infinite ones, complex, boolean or 64-bit integers, or time not last.
    """
    try:
        tensor = audio if isinstance(audio, torch.Tensor) else torch.as_tensor(_plain(np.asarray(audio)))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"audio of type {type(audio).__name__}, not an array of numbers; pass an array [C, n]"
        ) from error
    kind = str(tensor.dtype).removeprefix("torch.")
    if kind in _INTEGER_SCALES:
        scale = _INTEGER_SCALES[kind]
        tensor = (tensor.to(torch.float64) - (scale if kind.startswith("u") else 0)).div(scale)
    elif not tensor.is_floating_point():
        raise InputError(f"audio of type {kind}: accepted are floats in [-1, 1] and {', '.join(_INTEGER_SCALES)}")
    shape = tuple(tensor.shape)
    if tensor.ndim == 0 or (tensor.numel() == 0 and not allow_empty):
        raise InputError(f"audio of shape {list(shape)} has no samples; at least one is needed")
    if tensor.ndim > 1 and shape[-1] <= 32 < shape[-2]:
        raise InputError(f"audio of shape {list(shape)} looks like [n, C]; expected is time last, [C, n]: pass audio.T")
    if not bool(torch.isfinite(tensor).all()):
        check_finite(tensor.detach().cpu().numpy())
    return tensor.to(torch.float32)


def _plain(array: np.ndarray) -> np.ndarray:
    """The array as PyTorch takes it: native byte order, no long doubles, writeable, strides that are not negative."""
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    array = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    return array if array.flags.writeable else array.copy()
