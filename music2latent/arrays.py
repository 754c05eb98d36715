"""Arrays of samples that a caller passes in: checked, and brought to float32."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch

from .errors import InputError

PEAK = 64.0
"""Largest magnitude of a float sample. Mixes that overshoot stay far below (it is 36 dB over full scale), while music
in the range of 16-bit integers stays below only if it is silent (it is 54 dB under their full scale)."""


def check_samples(audio: np.ndarray, name: str = "audio", offset: int = 0) -> np.ndarray:
    """Refuse samples of `[..., n]` that are NaN, infinite or beyond `PEAK`, naming the first one's position.

    Raises:
        InputError: there is one.
    """
    good = (np.abs(audio) <= PEAK).reshape(-1, audio.shape[-1])
    if good.all():
        return audio
    sample = int(good.all(axis=0).argmin())
    value = audio.reshape(good.shape)[good[:, sample].argmin(), sample]
    where = f"at sample {offset + sample}"
    if not np.isfinite(value):
        raise InputError(f"{name}: NaN or infinite {where}; samples must be finite, in [-1, 1]")
    raise InputError(
        f"{name}: {value:g} {where}; float samples must be in [-1, 1] (up to {PEAK:g} is accepted): "
        "divide samples in the range of 16-bit integers by 32768"
    )


_INTEGER_SCALES = {"int8": 2**7, "uint8": 2**7, "int16": 2**15, "uint16": 2**15, "int32": 2**31}


def as_float(audio: Any, *, block: bool = False) -> torch.Tensor:
    """An array or tensor of samples, any axes with time last, as a float32 tensor on its own device.

    Integers are scaled by their range (unsigned ones are centred, as 8-bit WAV files are). Gradients are kept.
    A `block` of a stream may be of any length, 0 too.

    Raises:
        InputError: no samples, NaN, infinite or larger than `PEAK`, complex, boolean or 64-bit integers, time not last,
            or several files.
    """
    if isinstance(audio, (list, tuple)) and any(
        isinstance(item, (str, bytes, os.PathLike)) or hasattr(item, "read") for item in audio
    ):
        raise InputError(
            f"a {type(audio).__name__} of files; expected one piece of audio at a time: "
            "[codec.compress(path) for path in paths]"
        )
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
    if tensor.ndim == 0 or (tensor.numel() == 0 and not block):
        raise InputError(f"audio of shape {list(shape)} has no samples; at least one is needed")
    if not block and tensor.ndim > 1 and shape[-1] <= 32 < shape[-2]:
        raise InputError(f"audio of shape {list(shape)} looks like [n, C]; expected is time last, [C, n]: pass audio.T")
    if tensor.numel() and not bool(tensor.detach().abs().max() <= PEAK):  # NaN is not, either
        check_samples(tensor.detach().double().cpu().numpy())
    return tensor.to(torch.float32)


def _plain(array: np.ndarray) -> np.ndarray:
    """The array as PyTorch takes it: native byte order, no long doubles, writeable, strides that are not negative."""
    if array.dtype == np.longdouble:
        array = array.astype(np.float64)
    array = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    return array if array.flags.writeable else array.copy()
