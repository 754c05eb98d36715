"""The `.m2l` file: a safetensors container of one tensor, with the facts in its metadata.

Files come from anywhere: nothing of one is read before its header fits its size, and whatever is wrong with it is said
in one line.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from .errors import InputError
from .files import stored_bits

FORMAT = "music2latent.latents"
FORMAT_VERSION = 1
SUFFIX = ".m2l"

LatentsFile: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, or a seekable file object opened for reading bytes, such as fsspec's."""

_FACTS = {"sample_rate": int, "num_samples": int, "coding_rate": int, "model_id": str, "fingerprint": str}
_FRAMES = ("frame_size", "edge")  # not in the files of older releases, which knew one shape
_ITEM_BYTES = {"F16": 2, "F32": 4}
_MOST_HEADER = 1 << 20  # bytes; ours has about five hundred


def pack(values: Tensor, facts: Mapping[str, Any], dtype: str, name: str) -> bytes:
    """The content of a file, of values `[C, D, L]` and facts, of which others than the format's are left out.

    Raises:
        InputError: a dtype other than float16 and float32, or values that float16 cannot hold.
    """
    stored_bits(dtype)
    values = values.to(getattr(torch, dtype))
    if not bool(torch.isfinite(values).all()):
        raise InputError(f"{name}: values beyond float16's 65504; store them with dtype='float32'")
    known = {"format": FORMAT, "version": FORMAT_VERSION} | {key: facts[key] for key in (*_FACTS, *_FRAMES)}
    return save({"latents": values.contiguous()}, {key: json.dumps(value) for key, value in known.items()})


def unpack(stream: BinaryIO, name: str) -> tuple[Tensor, dict[str, Any]]:
    """Values `[C, D, L]` float32 and facts of a file; facts have the right types, and are otherwise unchecked.

    Raises:
        InputError: truncated, not of this format, or of a version that this package does not know.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    head = stream.read(8)
    if head == b"version ":
        raise InputError(f"{name}: a Git LFS pointer, not the file; run git lfs pull")
    unusable = f"{name}: truncated, or not a {SUFFIX} file"
    length = int.from_bytes(head, "little")
    if length > min(size - 8, _MOST_HEADER):
        raise InputError(f"{unusable} ({size} bytes)")
    try:
        header = json.loads(stream.read(length).decode(), object_pairs_hook=_once)
        metadata = header.get("__metadata__", {})
        known = ("format", "version", *_FACTS, *_FRAMES)
        facts = {key: json.loads(metadata[key]) for key in known if key in metadata}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{unusable} (its header cannot be read)") from error
    _check_facts(facts, name)
    try:
        entry = header["latents"]
        shape, item = entry["shape"], _ITEM_BYTES[entry["dtype"]]
        if len(header) != 2 or [type(n) for n in shape] != [int] * 3 or math.prod(shape) * item != size - 8 - length:
            raise ValueError("another shape than the bytes have")
        stream.seek(0)
        values = load(stream.read())["latents"].to(torch.float32)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{unusable} (it holds something else than one tensor of float16 or float32)") from error
    return values, {key: facts[key] for key in (*_FACTS, *_FRAMES) if key in facts}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no key stands twice: readers disagree on which of the two counts."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _check_facts(facts: Mapping[str, Any], name: str) -> None:
    if facts.get("format") != FORMAT:
        raise InputError(f"{name}: a safetensors file, but not latents; expected a {SUFFIX} file")
    kinds = {"version": int} | _FACTS | {key: int for key in _FRAMES if key in facts}
    wrong = [
        key
        for key, kind in kinds.items()
        if type(facts.get(key)) is not kind or (kind is int and not 0 <= facts[key] < 2**63)
    ]
    if "version" not in wrong and (version := facts["version"]) != FORMAT_VERSION:
        raise InputError(
            f"{name}: format version {version}, this package reads {FORMAT_VERSION}; "
            "a newer release of music2latent may read it"
        )
    if wrong:
        raise InputError(f"{name}: damaged, wrong or missing: {', '.join(wrong)}")


# ------------------------------------------------------------------------------------------------ paths, file objects


@contextmanager
def opened(file: LatentsFile) -> Iterator[tuple[BinaryIO, str]]:
    """The file's bytes, and what messages call it. A caller's file object is not closed.

    Raises:
        InputError: a URL, missing, no regular file, unreadable, or an object that is no seekable file of bytes.
    """
    name = str(getattr(file, "name", None) or type(file).__name__)
    try:
        if isinstance(file, (str, os.PathLike)):
            path = local_path(file)
            name = os.fspath(path)
            if not stat.S_ISREG(path.stat().st_mode):  # reading from a pipe would wait
                raise InputError(f"{name}: {'a folder' if path.is_dir() else 'no regular file'}, not a {SUFFIX} file")
            with path.open("rb") as stream:
                yield stream, name
        elif not hasattr(file, "read") or file.closed or not file.seekable() or not isinstance(file.read(0), bytes):
            raise InputError(f"{name}: not a path, nor an open seekable file object of bytes (mode 'rb')")
        else:
            yield file, name
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file") from error
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror or error})") from error


def local_path(path: str | os.PathLike[str]) -> Path:
    """A path of this machine.

    Raises:
        InputError: a URL, or anything that is no path.
    """
    text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(text, str) or "\0" in text:
        raise InputError(f"{path!r:.80}: not a path; the bytes of a file are for to_bytes and from_bytes")
    if "://" in text:
        raise InputError(f"{text}: a URL; open it with fsspec and pass the file object, or its bytes to from_bytes")
    return Path(text)
