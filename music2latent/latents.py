"""`Latents`, the record: the latents of one piece of audio, its facts, and what can be done with it in time."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from . import display
from .chunks import latents_needed
from .errors import InputError, check_name, whole_number
from .files import check_suffix, replacing
from .m2l import SUFFIX as SUFFIX
from .m2l import LatentsFile, local_path, opened, pack, unpack
from .resampling import RATES, check_rate


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Latents:
    """What `EncoderDecoder.compress` gives and `decompress` takes: the latents of one piece of audio, and its facts.

    `latents[2.0:5.5]` is a piece of it in seconds, and `np.asarray(latents)` its values.

    Raises:
        InputError: values that are no finite floats `[C, D, L]`, facts out of range, or facts that contradict them.
    """

    values: Tensor
    """`[C, D, L]` float32 on the CPU, about unit variance. Any array or tensor of floats is converted to that."""
    sample_rate: int
    """Rate of the original audio in Hz; decompressing returns to it."""
    num_samples: int
    """Samples per channel of the original audio; decompressing returns exactly as many."""
    coding_rate: int
    """Rate in Hz that the audio had while it was coded: the model's own, or 48000."""
    model_id: str
    """Name of the model that encoded it."""
    fingerprint: str
    """SHA-256 of that model's weights and configuration; only the same can decode."""
    frame_size: int = 4096
    """Samples (at `coding_rate`) that one latent stands for."""
    edge: int = 1536
    """Samples (at `coding_rate`) that were mirrored before the first; the first frame begins with them."""
    features: Tensor | None = None
    """The encoder's features `[C, feature_dim, L]` where they were asked for. `.m2l` files do not have them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _as_floats(self.values, "latents"))
        for name, low, high in (
            *(("sample_rate", *RATES), ("coding_rate", *RATES), ("num_samples", 1, 2**63 - 1)),
            *(("frame_size", 1, 2**20), ("edge", 0, 2**20)),
        ):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), low, high))
        for name in ("model_id", "fingerprint"):
            check_name(name, getattr(self, name))
        channels, dim, length = self.shape
        coded = -(-self.num_samples * self.coding_rate // self.sample_rate)
        expected = latents_needed(coded, self)
        # It may be one more or less, where resampling rounded the other way; decoding still gives every sample.
        if abs(length - expected) > 1 or length * self.frame_size < coded:
            raise InputError(
                f"latents of shape {[channels, dim, length]} do not hold {self.num_samples} samples at "
                f"{self.sample_rate} Hz; that takes [C, {dim}, {expected}]"
            )
        if self.features is not None:
            object.__setattr__(self, "features", features := _as_floats(self.features, "features"))
            if (len(features), features.shape[-1]) != (channels, length):
                raise InputError(f"features of shape {list(features.shape)} beside latents {list(self.shape)}")

    @classmethod
    def from_array(
        cls,
        values: Any,
        *,
        model_id: str,
        fingerprint: str,
        coding_rate: int = 44100,
        sample_rate: int | None = None,
        num_samples: int | None = None,
        frame_size: int = 4096,
        edge: int = 1536,
    ) -> Latents:
        """A record of latents that did not come out of an encoder, such as a generator's.

        Args:
            values: array or tensor of floats, `[D, L]` for one channel or `[C, D, L]`, about unit variance.
            model_id, fingerprint: of the model that shall decode them.
            coding_rate: rate in Hz that the model works at.
            sample_rate: of the audio to be decoded, by default the same.
            num_samples: of the audio, by default the most that L latents hold: frame_size * L - edge at `coding_rate`.
            frame_size, edge: of the model's configuration, where it has not the official shape.

        Raises:
            InputError: as for the record itself.
        """
        values = _as_floats(values, "latents", one_channel=True)
        coding_rate = check_rate("coding_rate", coding_rate)
        sample_rate = coding_rate if sample_rate is None else check_rate("sample_rate", sample_rate)
        if num_samples is None:
            num_samples = (frame_size * values.shape[-1] - edge) * sample_rate // coding_rate
        return cls(
            values=values,
            sample_rate=sample_rate,
            num_samples=num_samples,
            coding_rate=coding_rate,
            model_id=model_id,
            fingerprint=fingerprint,
            frame_size=frame_size,
            edge=edge,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """`(C, D, L)`: audio channels, channels of the latents, latents."""
        return tuple(self.values.shape)

    @property
    def channels(self) -> int:
        """Audio channels."""
        return self.values.shape[0]

    @property
    def duration(self) -> float:
        """Seconds of audio."""
        return self.num_samples / self.sample_rate

    @property
    def frame_rate(self) -> float:
        """Latents per second."""
        return self.coding_rate / self.frame_size

    @property
    def times(self) -> np.ndarray:
        """The second of the audio at which each latent sounds, `[L]`: the middle of what its frame covers.

        A frame is frame_size + edge samples long, and the first begins `edge` samples early, in what is mirrored
        there: latent i sounds at frame_size * (i + 1/2) - edge / 2 samples. The last may lie just behind the end.
        """
        return (self.frame_size * (np.arange(self.shape[-1]) + 0.5) - self.edge / 2) / self.coding_rate

    def bitrate(self, bits_per_value: int = 16) -> float:
        """kbit/s of the values, all channels together, when each takes that many bits."""
        return self.values.numel() * bits_per_value / self.duration / 1000

    def rounded(self) -> Latents:
        """The same record as a float16 file gives it back."""
        return replace(self, values=self.values.to(torch.float16).to(torch.float32))

    def numpy(self) -> np.ndarray:
        """The values `[C, D, L]` float32, not copied: what is written there changes the record."""
        return self.values.numpy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy().astype(np.float32 if dtype is None else dtype, copy=bool(copy))
        if copy is False and array.dtype != np.float32:
            raise ValueError(f"latents are float32; as {array.dtype} they are a copy")
        return array

    def __repr__(self) -> str:
        return (
            f"Latents({list(self.shape)}, {self.duration:.2f} s at {self.sample_rate} Hz, "
            f"{self.frame_rate:.2f} latents per second, model {self.model_id[:80]!r})"
        )

    def _repr_html_(self) -> str:
        facts = {
            "audio": f"{self.duration:.2f} s, {self.channels} channels, {self.sample_rate} Hz",
            "latents": f"{' x '.join(map(str, self.shape))}, {self.frame_rate:.2f} per second",
            "size": f"{self.bitrate():.1f} kbit/s in float16",
            "model": f"{self.model_id} ({self.fingerprint[:12]})",
        }
        picture = display.latents_html(self.numpy()[0], self.times[0], self.frame_rate)
        return display.facts_html("Latents" if self.channels == 1 else "Latents, first channel shown", facts, picture)

    # ------------------------------------------------------------------------------------------------ in time

    def __getitem__(self, span: slice) -> Latents:
        """A piece, `latents[start:stop]` in seconds; negative ones count from the end.

        Both ends are moved to the nearest whole frame, by at most half a frame (46 ms), but for the beginning and the
        end of the record. So the piece begins at a multiple of frame_size / coding_rate seconds, its audio is that of
        the whole from there on, and neighbouring pieces, `latents[:t]` and `latents[t:]`, share no sound.

        Raises:
            InputError: anything but floats, a step, or a piece that has nothing in it.
        """
        if not isinstance(span, slice) or span.step is not None or not (_is_time(span.start) and _is_time(span.stop)):
            raise InputError(
                f"latents[{_shown(span)}]: a piece of latents is named in seconds, as floats: latents[2.0:5.5]; "
                "for latents by number take .values or .numpy()"
            )
        first, last = (self._frame_at(time, default) for time, default in ((span.start, 0.0), (span.stop, math.inf)))
        start, stop = self._sample_of(first), min(self._sample_of(last), self.num_samples)
        if start >= stop:
            raise InputError(
                f"latents[{_shown(span)}]: no whole frame of {1 / self.frame_rate:.3f} s lies there; "
                f"these latents have {self.duration:.2f} s"
            )
        until = self.shape[-1]
        if stop < self.num_samples:
            until = first + latents_needed((last - first) * self.frame_size, self)
        features = None if self.features is None else self.features[..., first:until]
        return replace(self, values=self.values[..., first:until], num_samples=stop - start, features=features)

    def _frame_at(self, time: float | None, default: float) -> int:
        """Number of the frame that begins nearest to a time, at the end the number of latents."""
        time = default if time is None else float(time)
        time = max(time + self.duration, 0.0) if time < 0 else time
        return round(time * self.frame_rate) if time < self.duration else self.shape[-1]

    def _sample_of(self, frame: int) -> int:
        """Sample of the original audio at which a frame begins, without what is mirrored or shared."""
        return round(frame * self.frame_size * self.sample_rate / self.coding_rate)

    @classmethod
    def concatenate(cls, parts: Iterable[Latents]) -> Latents:
        """One after the other, as one record.

        Every part begins at the whole frame nearest to where it should, so that up to half a frame (46 ms) before it
        is left out, or filled with what the encoder mirrored; these differences do not add up. Pieces that were cut
        from one record fit exactly.

        Raises:
            InputError: no parts, parts of different models, rates or channels, or features in some of them alone.
        """
        parts = list(parts)
        if not parts or not all(isinstance(part, Latents) for part in parts):
            raise InputError("concatenate takes a list of one or more Latents")
        for name in ("fingerprint", "sample_rate", "coding_rate", "channels", "frame_size", "edge"):
            if len(found := {getattr(part, name): None for part in parts}) > 1:
                raise InputError(f"latents of different {name} cannot be joined: {', '.join(map(str, found))}")
        if len({part.features is None for part in parts}) > 1:
            raise InputError("latents with and without features cannot be joined; replace(latents, features=None)")
        kept, wanted, position = [], 0.0, 0
        for part in parts[:-1]:
            wanted += part.duration * part.frame_rate
            kept.append(min(round(wanted) - position, part.shape[-1]))
            position += kept[-1]
        kept.append(parts[-1].shape[-1])
        values = [part.values[..., :count] for part, count in zip(parts, kept, strict=True)]
        features = [
            part.features[..., :count] for part, count in zip(parts, kept, strict=True) if part.features is not None
        ]
        return replace(
            parts[-1],
            values=torch.cat(values, dim=-1),
            num_samples=parts[-1]._sample_of(position) + parts[-1].num_samples,
            features=torch.cat(features, dim=-1) if features else None,
        )

    # ------------------------------------------------------------------------------------------------ files

    def to_bytes(self, *, dtype: str = "float16", name: str = "latents") -> bytes:
        """The content of an `.m2l` file; messages call it `name`.

        Args:
            dtype: `float16` (its rounding is a thousandth, far below what the model loses) or `float32`.

        Raises:
            InputError: another dtype, or values that float16 cannot hold.
        """
        return pack(self.values, vars(self), dtype, name)

    def save(self, path: str | os.PathLike[str], *, dtype: str = "float16", overwrite: bool = True) -> None:
        """Write an `.m2l` file, whole or not at all; `dtype` as in `to_bytes`, `overwrite` as in `files.replacing`.

        Raises:
            InputError: another suffix or dtype, values that float16 cannot hold, or a place that cannot be written.
        """
        target = local_path(path)
        check_suffix(target, SUFFIX, "latents")
        content = self.to_bytes(dtype=dtype, name=os.fspath(target))
        with replacing(target, overwrite=overwrite) as partial:
            partial.write_bytes(content)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "latents") -> Latents:
        """Read the content of an `.m2l` file; messages call it `name`.

        Raises:
            InputError: as in `load`.
        """
        return cls._read(io.BytesIO(content), name)

    @classmethod
    def load(cls, file: LatentsFile) -> Latents:
        """Read an `.m2l` file, by its path or from a file object opened for reading bytes, such as fsspec's.

        Raises:
            InputError: missing, truncated, not of this format, or of a version that this package does not know.
        """
        with opened(file) as (stream, name):
            return cls._read(stream, name)

    @classmethod
    def _read(cls, stream: BinaryIO, name: str) -> Latents:
        values, facts = unpack(stream, name)
        try:
            return cls(values=values, **facts)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error


def _is_time(value: object) -> bool:
    """Whether this can stand in a slice: whole numbers may be meant as seconds or as latents."""
    return value is None or (isinstance(value, Real) and not isinstance(value, Integral) and value == value)


def _shown(index: object) -> str:
    """An index as it was written, roughly."""
    if not isinstance(index, slice):
        return f"{index!r:.40}"
    parts = [index.start, index.stop] + [index.step] * (index.step is not None)
    return ":".join("" if part is None else f"{part!r:.40}" for part in parts)


def _as_floats(values: Any, name: str, *, one_channel: bool = False) -> Tensor:
    """An array or tensor of floats `[C, D, L]`, for one channel also `[D, L]`, as float32 on the CPU.

    Raises:
        InputError: another type or shape, gradients, NaN or infinite numbers.
    """
    if not isinstance(values, Tensor):
        with suppress(TypeError, ValueError), np.errstate(over="ignore"):
            if (array := np.asarray(values)).dtype.kind == "f":
                values = torch.from_numpy(array.astype(np.float32, order="C"))
    if not isinstance(values, Tensor) or not values.is_floating_point():
        kind = getattr(values, "dtype", type(values).__name__)
        raise InputError(f"{name} of type {kind}; expected an array or tensor of floats")
    if values.requires_grad:
        raise InputError(f"{name} with gradients, which a record does not keep; pass values.detach()")
    values = values[None] if one_channel and values.ndim == 2 else values
    if values.ndim != 3 or not values.numel():
        raise InputError(f"{name} of shape {list(values.shape)}; expected {'[D, L] or ' * one_channel}[C, D, L]")
    values = values.to("cpu", torch.float32).contiguous()
    if not bool(torch.isfinite(values).all()):
        raise InputError(f"{name}: NaN or infinite values")
    return values


def as_values(latent: Any, dim: int) -> Tensor:
    """An array or tensor of latents `[D, L]`, `[C, D, L]` or `[B, C, D, L]` as a tensor of its own dtype and device.

    Raises:
        InputError: another shape, no or complex or not finite numbers, or a `Latents` record.
    """
    if isinstance(latent, Latents):
        raise InputError("decode takes the values of latents; for a Latents record there is decompress")
    try:
        values = latent if isinstance(latent, Tensor) else torch.as_tensor(np.array(latent))
    except (TypeError, ValueError) as error:
        raise InputError(f"latents of type {type(latent).__name__}, not an array of numbers") from error
    if values.is_complex() or values.ndim not in (2, 3, 4) or values.shape[-2] != dim or not values.numel():
        hint = "; pass the transpose" if values.ndim > 1 and values.shape[-1] == dim else ""
        raise InputError(
            f"latents of shape {list(values.shape)}; expected [{dim}, L], [C, {dim}, L] or [B, C, {dim}, L]{hint}"
        )
    if not bool(torch.isfinite(values).all()):
        raise InputError("latents: NaN or infinite values")
    return values
