"""PyTorch's `.pt` files, read without unpickling: what the pickle says is followed step by step, and it can make
nothing but numbers, strings, tuples, lists, dicts and descriptions of tensors.

A pickle is a program for a small stack machine. This is that machine for the instructions that `torch.save` writes,
with functions of our own for the few classes that the official package's files name. Nothing that a file can say
reaches Python's or PyTorch's own functions, and nothing grows beyond the file that it came in.
"""

from __future__ import annotations

import os
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .errors import InputError

MOST_PICKLE = 1 << 20
"""Bytes of the pickle; the official model's has 68 thousand. It holds no weights."""
MOST_DIRECTORY = 4 << 20
"""Bytes of the archive's directory; the official model's has 37 thousand."""


@dataclass(frozen=True)
class Storage:
    """Numbers in an entry of the archive."""

    key: str
    dtype: torch.dtype
    count: int


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor that was not read yet. It shows a part of its storage, every number of which once."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        dims = sorted((stride, size) for stride, size in zip(self.stride, self.shape, strict=True) if size != 1)
        numel = 1
        for stride, size in dims:
            if stride != numel or size < 1:
                raise ValueError(f"a tensor of shape {self.shape} with strides {self.stride}")
            numel *= size
        if not 0 <= self.offset <= self.storage.count - numel:
            raise ValueError(f"a tensor of shape {self.shape} in a storage of {self.storage.count}")


class Archive:
    """An open `.pt` file.

    Raises, as do its functions: `InputError` for what is not allowed, any `Exception` for what is damaged.
    """

    def __init__(self, file: BinaryIO) -> None:
        size = file.seek(0, os.SEEK_END)
        _check_directory(file, size)
        self._zip = zipfile.ZipFile(file)
        entries = self._zip.infolist()
        if any(
            entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size for entry in entries
        ):
            raise ValueError("compressed entries, which torch.save does not write")
        if sum(entry.file_size for entry in entries) > size:
            raise ValueError("entries larger than the file")
        self._sizes = {entry.filename: entry.file_size for entry in entries}
        pickles = [name for name in self._sizes if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("no archive that torch.save wrote")
        self._pickle = pickles[0]
        self._folder = self._pickle.removesuffix("data.pkl")
        self._storages: dict[str, Tensor] = {}
        self._left = size

    def content(self) -> Any:
        """What was saved, with a `StoredTensor` for every tensor."""
        if self._sizes[self._pickle] > MOST_PICKLE:
            raise ValueError(f"a pickle of {self._sizes[self._pickle]} bytes")
        byteorder = f"{self._folder}byteorder"
        if byteorder in self._sizes and self._zip.read(byteorder) != b"little":
            raise ValueError("numbers in big-endian byte order")
        return unpickle(self._zip.read(self._pickle), self._storage)

    def tensor(self, stored: StoredTensor) -> Tensor:
        """Read a tensor; those that lie in one storage share memory."""
        storage = stored.storage
        if storage.key not in self._storages:
            content = self._zip.read(f"{self._folder}data/{storage.key}")
            self._storages[storage.key] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        found = self._storages[storage.key].view(storage.dtype)
        tensor = found.as_strided(stored.shape, stored.stride, stored.offset)
        self._left -= tensor.nbytes
        if self._left < 0:
            raise ValueError("tensors of more numbers than the file holds")
        return tensor

    def _storage(self, saved: Any) -> Storage:
        """What stands in the pickle for a storage: ("storage", class, key, device, count)."""
        what, dtype, key, _, count = saved
        size = self._sizes[f"{self._folder}data/{_expect(key, str)}"]
        if what != "storage" or _expect(count, int) * _expect(dtype, torch.dtype).itemsize != size:
            raise ValueError(f"a storage of {count} numbers in {size} bytes")
        return Storage(key, dtype, count)


def _check_directory(file: BinaryIO, size: int) -> None:
    """Refuse an archive with more entries than a model has, before a record is made of each."""
    if size < 98:
        raise ValueError("an archive cut short")
    file.seek(size - 98)  # the last records as torch.save writes them: of 64 bits, the pointer to it, of 32 bits
    tail = file.read(98)
    large = struct.unpack_from("<Q", tail, 40)[0] if tail.startswith(b"PK\x06\x06") else 0
    if tail[76:80] != b"PK\x05\x06" or max(large, struct.unpack_from("<L", tail, 88)[0]) > MOST_DIRECTORY:
        raise ValueError("an archive cut short, or with too many entries")


# ------------------------------------------------------------------------------------------------ the stack machine


def unpickle(data: bytes, storage: Callable[[Any], Storage]) -> Any:
    """Follow a pickle; `storage` says what a persistent id stands for.

    Raises:
        InputError: an instruction or a name that `torch.save` does not write for tensors, numbers and containers.
        Exception: any other, of a damaged pickle.
    """
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def pop(count: int) -> list[Any]:
        """The last values; fewer there is an error."""
        if not 0 <= count <= len(stack):
            raise ValueError("the pickle takes more than it made")
        values = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return values

    argument: Any
    for instruction, argument, _ in pickletools.genops(data):
        match instruction.name:
            case "PROTO":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                marks.append(len(stack))
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(instruction.name == "NEWTRUE")
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE":
                stack.append(argument)
            case "EMPTY_TUPLE":
                stack.append(())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(pop(int(instruction.name[-1]))))
            case "TUPLE":
                stack.append(tuple(pop(len(stack) - marks.pop())))
            case "APPEND" | "APPENDS":
                values = pop(1 if instruction.name == "APPEND" else len(stack) - marks.pop())
                _expect(stack[-1], list).extend(values)
            case "SETITEM" | "SETITEMS":
                values = pop(2 if instruction.name == "SETITEM" else len(stack) - marks.pop())
                pairs = zip(map(_key, values[::2]), values[1::2], strict=True)
                _expect(stack[-1], dict).update(pairs)
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "GLOBAL":
                if argument not in STAND_INS:
                    raise _refusal(f"it asks for {argument.replace(' ', '.'):.80}")
                stack.append(STAND_INS[argument])
            case "REDUCE":  # whatever can be called comes from the table
                call, arguments = pop(2)
                stack.append(call(*_expect(arguments, tuple)))
            case "BUILD":
                _check_state(stack[-2], stack.pop())
            case "BINPERSID":
                stack.append(storage(_expect(pop(1)[0], tuple)))
            case name:
                raise _refusal(f"its pickle has the instruction {name}, which torch.save does not write by default")
    raise ValueError("a pickle without an end")


def _refusal(what: str) -> InputError:
    return InputError(f"holds something other than weights and numbers, not loaded ({what})")


def _expect(value: Any, kind: type[Any]) -> Any:
    if type(value) is not kind:
        raise ValueError(f"{type(value).__name__} where a {kind.__name__} belongs")
    return value


def _key(key: Any) -> str | int:
    """A key of a dict: no nested tuple, whose hash exhausts the C stack, and no long number, whose hashes collide."""
    if type(key) is str or (type(key) is int and abs(key) < 1 << 31):
        return key
    raise ValueError(f"{type(key).__name__} as a key")


def _check_state(target: Any, state: Any) -> None:
    """What is set on an object after it was made. A dict's is ignored (`state_dict` has versions of modules there)."""
    of_scalars = type(target) is struct.Struct and state in [
        (3, order, None, None, None, -1, -1, 0) for order in ("<", "|")
    ]
    if type(target) is not dict and not of_scalars:
        raise _refusal(f"it sets the state of a {type(target).__name__}")


# ------------------------------------------------------------------------------------------------ instead of classes


def _ordered_dict() -> dict[Any, Any]:
    return {}


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    numbers = [offset, *_expect(shape, tuple), *_expect(stride, tuple)]
    if len(numbers) > 17 or any(type(number) is not int or abs(number) >> 63 for number in numbers):
        raise ValueError("a tensor of more than 8 dimensions, or whose shape is no whole numbers")
    return StoredTensor(storage=_expect(storage, Storage), offset=offset, shape=shape, stride=stride)


def _rebuild_parameter(tensor: Any, *_: Any) -> StoredTensor:
    return _expect(tensor, StoredTensor)


def _numpy_dtype(kind: Any, *_: Any) -> struct.Struct:
    formats = {"f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "b1": "?"}
    formats |= {f"u{size}": formats[f"i{size}"].upper() for size in (1, 2, 4, 8)}
    if _expect(kind, str) not in formats:
        raise _refusal(f"it asks for a numpy.dtype {kind!r:.20}")
    return struct.Struct(f"<{formats[kind]}")


def _numpy_scalar(dtype: Any, content: Any) -> int | float | bool:
    return _expect(dtype, struct.Struct).unpack(_expect(content, bytes))[0]


def _encode(text: Any, encoding: Any) -> bytes:
    """How bytes are written in a pickle of protocol 2."""
    if len(_expect(text, str)) > 8 or encoding != "latin1":
        raise ValueError(f"{len(text)} bytes where a number belongs")
    return text.encode("latin1")


STAND_INS: dict[str, Callable[..., Any] | torch.dtype] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "numpy dtype": _numpy_dtype,
    "numpy.core.multiarray scalar": _numpy_scalar,
    "numpy._core.multiarray scalar": _numpy_scalar,
    "_codecs encode": _encode,
    "torch FloatStorage": torch.float32,
    "torch DoubleStorage": torch.float64,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch ShortStorage": torch.int16,
    "torch CharStorage": torch.int8,
    "torch ByteStorage": torch.uint8,
    "torch BoolStorage": torch.bool,
}
"""What stands for each name that a pickle may ask for; no other is known."""
