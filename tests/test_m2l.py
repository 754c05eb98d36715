"""`.m2l` files: what they hold, and that a bad one is refused in one line, at once, whatever is wrong with it."""

from __future__ import annotations

import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from music2latent import InputError, Latents

from .helpers import disk_with, posix
from .test_latents import FACTS, record


@pytest.mark.parametrize(("dtype", "size"), [("float16", 2), ("float32", 4)])
def test_file_round_trip(tmp_path: Path, dtype: str, size: int) -> None:
    latents = record(features=torch.zeros(2, 5, 3))
    latents.save(tmp_path / "a.m2l", dtype=dtype)
    back = Latents.load(tmp_path / "a.m2l")
    assert {key: getattr(back, key) for key in FACTS} == FACTS
    assert back.values.dtype == torch.float32
    assert back.features is None
    expected = latents if dtype == "float32" else latents.rounded()
    assert torch.equal(back.values, expected.values)
    assert 0 <= (tmp_path / "a.m2l").stat().st_size - latents.values.numel() * size < 600


def test_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    latents = record()
    latents.save(tmp_path / "a.m2l")
    content = latents.to_bytes()
    assert (tmp_path / "a.m2l").stat().st_size == len(content)  # the order of its metadata is nobody's promise
    back = Latents.from_bytes(content)
    assert torch.equal(back.values, latents.rounded().values)
    assert {key: getattr(back, key) for key in FACTS} == FACTS
    with pytest.raises(InputError, match=r"^upload 7: truncated, or not a \.m2l file"):
        Latents.from_bytes(content[:-1], "upload 7")


def test_file_objects(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    record().save(str(tmp_path / "a.m2l"))
    expected = Latents.load(str(tmp_path / "a.m2l")).values
    content = (tmp_path / "a.m2l").read_bytes()
    with fsspec.open("memory://a.m2l", "wb") as file:
        file.write(content)
    with (tmp_path / "a.m2l").open("rb") as local, fsspec.open("memory://a.m2l", "rb") as remote:
        local.seek(5)  # as in audio files, the position does not matter
        for stream in (local, remote, io.BytesIO(content)):
            assert torch.equal(Latents.load(stream).values, expected)
            assert not stream.closed


def test_frames_of_another_shape_come_back() -> None:
    latents = record(frame_size=1024, edge=384, values=torch.zeros(1, 64, 9), num_samples=9000)
    back = Latents.from_bytes(latents.to_bytes())
    assert (back.frame_size, back.edge) == (1024, 384)


# ------------------------------------------------------------------------------------------------ what is refused


def test_refused_saves(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"files ending in \.m2l"):
        record().save(tmp_path / "a.pt")
    with pytest.raises(InputError, match="float16 or float32, not 'int8'"):
        record().save(tmp_path / "a.m2l", dtype="int8")
    with pytest.raises(InputError, match=r"a\.m2l: values beyond float16's 65504; store them with dtype='float32'"):
        record(values=torch.full((1, 64, 3), 1e5)).save(tmp_path / "a.m2l")
    with pytest.raises(InputError, match="s3://b/a.m2l: a URL"):
        record().save("s3://b/a.m2l")
    with pytest.raises(InputError, match="BytesIO.*not a path"):
        record().save(io.BytesIO())  # type: ignore[arg-type]
    with disk_with(100), pytest.raises(InputError, match="cannot be written"):
        record().save(tmp_path / "a.m2l")
    assert not os.listdir(tmp_path)


class _Pipe(io.BytesIO):
    def seekable(self) -> bool:
        return False


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    closed = io.BytesIO()
    closed.close()
    cases: list[tuple[Any, str]] = [
        (tmp_path / "b.m2l", "b.m2l: no such file"),
        (tmp_path, "a folder, not a .m2l file"),
        (tmp_path / ("a" * 300 + ".m2l"), "cannot be read"),
        ("a\0.m2l", "not a path"),
        ("https://example.com/a.m2l", "https://example.com/a.m2l: a URL; open it with fsspec"),
        (b"a.m2l", "bytes: not a path"),
        (7, "int: not a path"),
        (io.StringIO(), "StringIO: not a path, nor an open seekable file object of bytes"),
        (_Pipe(), "_Pipe: not a path, nor"),
        (closed, "BytesIO: not a path, nor an open"),
    ]
    for file, message in cases:
        with pytest.raises(InputError) as caught:
            Latents.load(file)
        assert message in str(caught.value)


@posix
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.m2l")
    with pytest.raises(InputError, match="no regular file"):
        Latents.load(tmp_path / "a.m2l")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    save_file({"latents": torch.zeros(1, 64, 3)}, tmp_path / "a.m2l")
    with pytest.raises(InputError, match="a safetensors file, but not latents"):
        Latents.load(tmp_path / "a.m2l")


def _raw(header: bytes, data: bytes = bytes(384), length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def _metadata(**changes: str) -> dict[str, str]:
    facts = {"format": "music2latent.latents", "version": 1} | FACTS
    return {key: json.dumps(value) for key, value in facts.items()} | changes


def _crafted(data: bytes = bytes(384), *, tensor: Any = None, metadata: Any = None, **changes: str) -> bytes:
    """A file of which these entries of the metadata (JSON) are other ones, or the tensor's entry, or the bytes."""
    tensor = {"dtype": "F16", "shape": [1, 64, 3], "data_offsets": [0, 384]} | (tensor or {})
    header = {"__metadata__": metadata or _metadata(**changes), "latents": tensor}
    return _raw(json.dumps(header).encode(), data)


def test_the_crafted_file_is_good_otherwise() -> None:
    assert Latents.from_bytes(_crafted()).num_samples == 9000
    assert Latents.from_bytes(_crafted(unknown="[")).num_samples == 9000  # a later release may say more


VALID = _crafted()
EMPTY = b'{"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}'
NUMBERS = ["sample_rate", "num_samples", "coding_rate", "frame_size", "edge"]
CRAFTED = {
    "empty": b"",
    "one byte": b"\x00",
    "header of nothing": _raw(b""),
    "header of 2**63 bytes": _raw(b"{}", length=2**63),
    "header of 2**64 - 1 bytes": _raw(b"{}", length=2**64 - 1),
    "header as long as the file": _raw(b"{}", b"", length=10),
    "nested header": _raw(b"[" * 100_000),
    "nested objects in the header": _raw(b'{"a":' * 100_000),
    "header that is no object": _raw(b"[1]"),
    "header that is not UTF-8": _raw(json.dumps({"__metadata__": {"a": "?"}}).encode().replace(b"?", b"\xff")),
    "metadata that is no object": _raw(b'{"__metadata__": 7, "latents": {}}'),
    "metadata of other values": _crafted(metadata={"format": ["music2latent.latents"]}),
    "tensor that is no object": _raw(json.dumps({"__metadata__": _metadata(), "latents": 7}).encode()),
    "a name twice": _raw(VALID[8:-384].replace(b'"model_id"', b'"model_id": "7", "model_id"')),
    "a tensor twice": _raw(VALID[8:-384].replace(b'"latents": {', b'"latents": %s, "latents": {' % EMPTY)),
    "two tensors": _raw(VALID[8:-384].replace(b'"latents": {', b'"more": %s, "latents": {' % EMPTY)),
    "RIFF": b"RIFF....WAVE" * 100,
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "deep metadata": _crafted(model_id="[" * 100_000),
    "another version": _crafted(version="2"),
    "version true": _crafted(version="true"),
    "version beyond 64 bits": _crafted(version="9" * 4000),
    "a name of a megabyte": _crafted(model_id=json.dumps("a" * 10**6)),
    "a long name": _crafted(model_id=json.dumps("a" * 1001)),
    "half a character": _crafted(model_id='"\\ud800"'),
    "a name that is a number": _crafted(model_id="7"),
    "a fingerprint that is none": _crafted(fingerprint="null"),
    "10**18 samples": _crafted(num_samples="1" + "0" * 18),
    "too many latents": _crafted(num_samples="1"),
    "rate of 1 Hz": _crafted(sample_rate="1"),
    "rate of 2**31 - 1 Hz": _crafted(sample_rate=str(2**31 - 1)),
    "coded at 1 Hz": _crafted(coding_rate="1"),
    "int8": _crafted(bytes(192), tensor={"dtype": "I8", "data_offsets": [0, 192]}),
    "bfloat16": _crafted(tensor={"dtype": "BF16"}),
    "float64": _crafted(bytes(1536), tensor={"dtype": "F64", "data_offsets": [0, 1536]}),
    "a dtype of none": _crafted(tensor={"dtype": ["F16"]}),
    "an unknown dtype": _crafted(tensor={"dtype": "F17"}),
    "two dimensions": _crafted(tensor={"shape": [64, 3]}),
    "no values": _crafted(b"", tensor={"shape": [1, 64, 0], "data_offsets": [0, 0]}),
    "negative shape": _crafted(tensor={"shape": [-1, -64, 3]}),
    "huge shape": _crafted(tensor={"shape": [2**62, 2**62, 2**62]}),
    "shape of text": _crafted(tensor={"shape": "164"}),
    "shape of text that is repeated": _crafted(tensor={"shape": ["164", 2**40, 1]}),
    "shape of text that is repeated too often": _crafted(tensor={"shape": ["164", 2**70, 1]}),
    "shape of floats": _crafted(tensor={"shape": [1.0, 64.0, 3.0]}),
    "offsets elsewhere": _crafted(tensor={"data_offsets": [2, 386]}),
    "offsets backwards": _crafted(tensor={"data_offsets": [384, 0]}),
    "bytes too few": _crafted(bytes(383)),
    "bytes too many": _crafted(bytes(385)),
    "NaN": _crafted(np.full(192, np.nan, np.float16).tobytes()),
    "infinite": _crafted(np.full(192, np.inf, np.float16).tobytes()),
    **{
        f"{name} = {value:.30}": _crafted(metadata=_metadata(**{name: value}))
        for name in NUMBERS
        for value in ("-1", "1e400", "NaN", "true", "1.5", "null", "[]", '"1"', "9" * 20, "9" * 4000, "9" * 5000)
    },
    **{f"without {name}": _crafted(metadata=_metadata() | {name: "null"}) for name in FACTS},
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_files_are_refused_in_one_line(name: str) -> None:
    with pytest.raises(InputError) as caught:
        Latents.from_bytes(CRAFTED[name], "a.m2l")
    message = str(caught.value)
    assert message.startswith("a.m2l: ")
    assert "\n" not in message
    assert len(message) < 300


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    for name, message in {
        "a Git LFS pointer": "a Git LFS pointer, not the file; run git lfs pull",
        "RIFF": "truncated, or not a .m2l file",
        "another version": "format version 2, this package reads 1; a newer release",
        "sample_rate = true": "damaged, wrong or missing: sample_rate",
        "10**18 samples": "do not hold 1000000000000000000 samples at 48000 Hz",
        "rate of 1 Hz": "sample_rate = 1; accepted: whole numbers from 1000 to 768000",
        "int8": "something else than one tensor of float16 or float32",
    }.items():
        (tmp_path / "a.m2l").write_bytes(CRAFTED[name])
        with pytest.raises(InputError, match="a.m2l: ") as caught:
            Latents.load(tmp_path / "a.m2l")
        assert message in str(caught.value)


class _Recording(io.BytesIO):
    """A file of a terabyte, of which the first bytes are there."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return 10**12 if whence == os.SEEK_END else super().seek(offset, whence)

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert 0 <= size <= 1 << 20
        return super().read(size)


@pytest.mark.parametrize("head", [VALID[:-384], bytes(100), b"\xff" * 100, _raw(b"{}", length=10**9)])
def test_the_bulk_of_a_file_is_read_when_its_header_fits_alone(head: bytes) -> None:
    with pytest.raises(InputError, match="truncated, or not a .m2l file"):
        Latents.load(_Recording(head))


@settings(deadline=None)
@given(st.data())
def test_a_changed_file_is_read_or_refused_in_one_line(data: st.DataObject) -> None:
    content = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 12))
        piece = data.draw(
            st.one_of(st.binary(max_size=12), st.sampled_from([b"-", b"0", b"9" * 30, b'"', b"{", b"]", b"e", b"\\u"]))
        )
        content[start : start + length] = piece
    try:
        latents = Latents.from_bytes(bytes(content), "a.m2l")
    except InputError as error:
        message = str(error)
    else:
        message = repr(latents)
        assert latents.values.dtype == torch.float32
        assert Latents.from_bytes(latents.to_bytes(dtype="float32")).shape == latents.shape
    assert len(message.splitlines()) == 1
