"""Archives and pickles from anywhere: nothing runs, nothing grows, and whatever is wrong is one kind of error."""

from __future__ import annotations

import functools
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from music2latent import InputError
from music2latent.checkpoint import reading, write_safetensors
from music2latent.pretrained import read_checkpoint
from music2latent.unpickling import STAND_INS, Archive, Storage, unpickle

from .helpers import least_checkpoint

TENSOR = torch.arange(12.0).view(3, 4)


def _saved(content: Any) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _content(data: bytes) -> Any:
    """What an archive holds, before a tensor is read."""
    with reading(Path("a.pt")):
        return Archive(io.BytesIO(data)).content()


def _read(data: bytes) -> dict[Any, torch.Tensor]:
    """An archive's tensors."""
    with reading(Path("a.pt")):
        archive = Archive(io.BytesIO(data))
        return {key: archive.tensor(value) for key, value in archive.content().items()}


def _with_pickle(code: bytes, data: bytes | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of `torch.save` whose pickle is another one."""
    return _with_entries({"data.pkl": code}, data, compression)


def _with_entries(changed: dict[str, bytes], data: bytes | None = None, compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of `torch.save` with other content in some entries, which are compressed as told."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data or _saved({"a": TENSOR}))) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            content = changed.get(entry.filename.partition("/")[2])
            if content is None:
                new.writestr(entry.filename, old.read(entry))
            else:
                new.writestr(entry.filename, content, compression)
    # The records that torch.save writes and zipfile does not: the 64-bit directory and the pointer to it.
    body, end = target.getvalue()[:-22], target.getvalue()[-22:]
    count, size, start = struct.unpack_from("<HLL", end, 10)
    large = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 30, 45, 0, 0, count, count, size, start)
    return body + large + struct.pack("<4sLQL", b"PK\x06\x07", 0, len(body), 1) + end


def _tensor_pickle(count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """The pickle of a dict of one tensor that lies so in a storage of 12 floats, said to be one of `count`."""
    argument = functools.partial(pickle.dumps, protocol=2)
    inner = b"".join(argument(value)[2:-1].replace(b"q\x00", b"") for value in (offset, shape, stride))
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + argument(count)[2:-1] + b"tQ" + inner + b"\x89NtR"
    return b"\x80\x02}X\x01\x00\x00\x00a" + rebuilt + b"s."


# ------------------------------------------------------------------------------------------------ what is read


@pytest.mark.parametrize(
    "tensor",
    [
        TENSOR,
        TENSOR.T,
        torch.tensor(1.5),
        TENSOR[1:],
        torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        torch.nn.Parameter(TENSOR),
        *(TENSOR.to(dtype) for dtype in STAND_INS.values() if isinstance(dtype, torch.dtype)),
    ],
)
def test_tensors_come_back(tensor: torch.Tensor) -> None:
    (read,) = _read(_saved({"a": tensor})).values()
    assert read.dtype == tensor.dtype
    assert torch.equal(read, tensor)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"])
def test_plain_values_and_numpy_scalars_come_back(dtype: str) -> None:
    content = {"n": np.ones(1, dtype)[0], "x": [1.5, True, None, (2**40, "ä", {}), OrderedDict(a=1)], 3: ()}
    assert _content(_saved(content)) == content


# ------------------------------------------------------------------------------------------------ what is not


class Calls:
    """Pickled, this asks for a call."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


SCALAR: Any = np.float64(0).__reduce__()[0]
FORBIDDEN: dict[str, Any] = {
    "system": Calls(os.system, "touch EXECUTED"),
    "eval": Calls(eval, "1"),
    "getattr": Calls(getattr, "", "join"),
    "bytearray": Calls(bytearray, 1 << 33),
    "range": Calls(range, 1 << 33),
    "ones": Calls(torch.ones, 1 << 33),
    "load": Calls(torch.load, "a"),
    "array": np.ones(3),
    "structured": np.zeros(1, [("a", "O"), ("b", "V8")])[0],
    "void": np.void(b"1234"),
    "text": np.str_("a"),
    "date": np.datetime64("2020-01-01"),
    "dtype of objects": np.dtype(object),
    "dtype with fields": np.dtype({"names": ["a"], "formats": ["f8"], "offsets": [1 << 30]}),
    "big-endian": np.dtype(">f8"),
    "scalar of text": Calls(SCALAR, np.dtype("f8"), "12345678"),
    "scalar cut short": Calls(SCALAR, np.dtype("f8"), b"1234567"),
    "scalar too long": Calls(SCALAR, np.dtype("f8"), b"12345678" * 99),
    "scalar of a pointer": Calls(SCALAR, np.dtype(object), b"12345678"),
    "float8": torch.zeros(2, dtype=torch.float8_e4m3fn),
    "sparse": torch.eye(2).to_sparse(),
    "path": Path("x"),
    "set": {1},
    "complex": 1j,
    "bytes": b"123456789",
    "module": torch.nn.Identity(),
    "device": torch.device("cpu"),
    "tuple as a key": {((),): 1},
    "long number as a key": {1 << 40: 1},
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_forbidden_values(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="^a.pt: (holds something other than weights|truncated or damaged)") as found:
        _content(_saved({"a": FORBIDDEN[name]}))
    assert str(found.value).isprintable()
    assert len(str(found.value)) < 200
    assert not os.listdir()


DTYPE = b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R"
CODE = {
    "state of a dtype": DTYPE + b"}b",
    "fields of a dtype": DTYPE + b"(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x01tb",
    "state of a list": b"]}b",
    "state of a storage class": b"ctorch\nFloatStorage\n}b",
    "call of a class": b"ctorch\nFloatStorage\n)R",
    "call of a number": b"K\x01)R",
    "call without a tuple": b"ccollections\nOrderedDict\n]R",
    "items for a dict": b"ccollections\nOrderedDict\n]\x85R",
    "new object": b"ccollections\nOrderedDict\n)\x81",
    "old instance": b"(ios\nsystem\n",
    "extension": b"\x82\x01",
    "decimal number": b"I1\n",
    "long number": b"\x8b\xff\xff\xff\x7f",
    "bytes": b"\x8e" + b"\xff" * 7 + b"\x7f",
    "byte array": b"\x96" + b"\xff" * 7 + b"\x7f",
    "memo that is not there": b"h\x07",
    "frame": b"\x95" + b"\x00" * 8,
    "nothing to pop": b"\x87",
    "no mark": b"t",
    "attributes of a module": b"cmusic2latent.unpickling\nSTAND_INS\n",
    "append to a tuple": b")K\x01a",
    "items of a list": b"]K\x00K\x01s",
    "odd number of items": b"}(K\x00u",
    "nested too deep for a hash": b"}" + b")" + b"\x85" * 10**5 + b"Ns",
    "scalar of a nested kind": b"cnumpy\ndtype\n" + b")" + b"\x85" * 10**5 + b"\x85R",
    "storage of a nested name": b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n)"
    + b"\x85" * 10**5
    + b"X\x03\x00\x00\x00cpuK\x0ctQ",
}


@pytest.mark.parametrize("name", CODE)
def test_forbidden_code(name: str) -> None:
    with pytest.raises(InputError, match="^a.pt: (holds something other than weights|truncated or damaged)") as found:
        _content(_with_pickle(b"\x80\x02" + CODE[name] + b"."))
    assert len(str(found.value)) < 200


def test_a_large_place_in_the_memo_takes_no_memory() -> None:
    assert unpickle(b"\x80\x02Nr\xff\xff\xff\xff.", lambda _: Storage("0", torch.float32, 1)) is None


# ------------------------------------------------------------------------------------------------ sizes


def test_the_pickle_that_the_table_of_layouts_uses_is_a_good_one() -> None:
    assert torch.equal(_read(_with_pickle(_tensor_pickle(12, 0, (3, 4), (4, 1))))["a"], TENSOR)


@pytest.mark.parametrize(
    ("count", "offset", "shape", "stride"),
    [
        (12, 0, (3 << 30, 4), (0, 0)),
        (12, 0, (3, 4), (0, 1)),
        (12, 0, (3, 4), (1, 1)),
        (12, 0, (3, 2), (4, 1)),
        (12, 1, (3, 4), (4, 1)),
        (12, -1, (3,), (1,)),
        (12, 0, (3, 4), (4, -1)),
        (12, 0, (-3, -4), (4, 1)),
        (12, 0, (13,), (1,)),
        (12, 0, (12,), (1, 1)),
        (12, 0, (1 << 62, 1 << 62), (1 << 62, 1)),
        (12, 0, (12, 1), (1, 1 << 70)),
        (12, 0, (0,), (1,)),
        (12, 0, (1,) * 9, (1,) * 9),
        (13, 0, (12,), (1,)),
        (1 << 40, 0, (1 << 40,), (1,)),
        (-12, 0, (12,), (1,)),
    ],
)
def test_tensors_that_do_not_lie_in_their_storage(
    count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match="^a.pt: truncated or damaged"):
        _content(_with_pickle(_tensor_pickle(count, offset, shape, stride)))


def test_one_storage_many_times() -> None:
    large = torch.zeros(10_000)
    assert len(_read(_saved({0: large}))) == 1
    with pytest.raises(InputError, match="more numbers than the file holds"):
        _read(_saved(dict.fromkeys(range(100), large)))


def test_archives_that_torch_save_does_not_write() -> None:
    plain = _saved({"a": TENSOR})
    large = b"\x00" * (3 << 20)
    with pytest.raises(InputError, match="a pickle of 3145728 bytes"):
        _content(_with_pickle(large))
    with pytest.raises(InputError, match="compressed entries"):
        _content(_with_pickle(large, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(InputError, match="big-endian"):
        _content(_with_entries({"byteorder": b"big"}))
    for place in (-98 + 42, -22 + 14):  # the third byte of the directory's size, in both records of it
        with pytest.raises(InputError, match="too many entries"):
            _content(plain[:place] + b"\x50" + plain[place + 1 :])
    with pytest.raises(InputError, match="an archive cut short"):
        _content(plain + b"comment")
    with pytest.raises(InputError, match="no archive that torch.save wrote"):
        _content(plain.replace(b"data.pkl", b"data.pkx"))
    torch.save({"a": TENSOR}, file := io.BytesIO(), pickle_protocol=4)
    with pytest.raises(InputError, match="the instruction FRAME, which torch.save does not write by default"):
        _content(file.getvalue())


# ------------------------------------------------------------------------------------------------ mutants


def _mutants(data: bytes) -> st.SearchStrategy[bytes]:
    """Some bytes set, then perhaps cut short, or a piece taken out or put in twice."""
    place = st.integers(0, len(data) - 1)

    def change(edits: list[tuple[int, int]], cut: tuple[int, int]) -> bytes:
        changed = bytearray(data)
        for where, value in edits:
            changed[where] = value
        return bytes(changed[: cut[0]] + changed[cut[1] :])

    ends = st.one_of(st.just((len(data), len(data))), st.tuples(place, st.just(len(data))), st.tuples(place, place))
    return st.builds(change, st.lists(st.tuples(place, st.integers(0, 255)), max_size=4), ends)


@functools.cache
def _files() -> dict[str, bytes]:
    least = least_checkpoint()
    weights = OrderedDict(least.state_dict)
    saved = _saved({"gen_state_dict": weights, "config": least.config.to_dict(), "fid": np.float64(1)})
    with zipfile.ZipFile(io.BytesIO(saved)) as archive:
        return {"pt": saved, "pickle": archive.read("archive/data.pkl")}


@pytest.mark.parametrize("kind", ["pt", "pickle", "safetensors"])
@settings(max_examples=60, deadline=10_000)
@given(data=st.data())
def test_mutants_are_read_or_refused(kind: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / f"mutant.{kind}"
    if kind == "safetensors":
        write_safetensors(path, least_checkpoint())
        content = path.read_bytes()
    else:
        content = _files()[kind]
    mutant = data.draw(_mutants(content))
    path.write_bytes(_with_pickle(mutant, _files()["pt"]) if kind == "pickle" else mutant)
    try:
        read_checkpoint(path)
        message = "read"
    except InputError as error:
        message = str(error).removeprefix(str(path))
    assert message.isprintable()
    assert len(message) < 700
