from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from music2latent import InputError, Latents

from .helpers import disk_with

FACTS: dict[str, Any] = {
    "sample_rate": 48000,
    "num_samples": 9000,
    "coding_rate": 44100,
    "model_id": "m",
    "fingerprint": "f" * 64,
}


def _latents() -> Latents:
    return Latents(values=torch.randn(2, 64, 3), **FACTS)


@pytest.mark.parametrize(("dtype", "size"), [("float16", 2), ("float32", 4)])
def test_file_round_trip(tmp_path: Path, dtype: str, size: int) -> None:
    latents = _latents()
    latents.save(tmp_path / "a.m2l", dtype=dtype)
    back = Latents.load(tmp_path / "a.m2l")
    assert {key: getattr(back, key) for key in FACTS} == FACTS
    assert back.values.dtype == torch.float32
    expected = latents if dtype == "float32" else latents.rounded()
    assert torch.equal(back.values, expected.values)
    assert 0 <= (tmp_path / "a.m2l").stat().st_size - latents.values.numel() * size < 600


def test_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    latents = _latents()
    latents.save(tmp_path / "a.m2l")
    content = latents.to_bytes()
    assert (tmp_path / "a.m2l").stat().st_size == len(content)  # the order of its metadata is nobody's promise
    back = Latents.from_bytes(content)
    assert torch.equal(back.values, latents.rounded().values)
    assert {key: getattr(back, key) for key in FACTS} == FACTS
    with pytest.raises(InputError, match=r"^upload 7: truncated, or not a \.m2l file"):
        Latents.from_bytes(content[:-1], "upload 7")


def test_facts() -> None:
    latents = _latents()
    assert (latents.channels, latents.duration) == (2, 9000 / 48000)
    assert latents.bitrate() == pytest.approx(2 * 64 * 3 * 16 / (9000 / 48000) / 1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": torch.zeros(64, 3)}, r"shape \[64, 3\]; expected \[C, D, L\]"),
        ({"values": torch.full((1, 64, 3), torch.nan)}, "NaN"),
        ({"num_samples": 0}, "must be positive"),
    ],
)
def test_refused_records(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(_latents(), **change)


def test_refused_saves(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"files ending in \.m2l"):
        _latents().save(tmp_path / "a.pt")
    with pytest.raises(InputError, match="float16 or float32, not 'int8'"):
        _latents().save(tmp_path / "a.m2l", dtype="int8")
    with pytest.raises(InputError, match=r"a\.m2l: values beyond float16's 65504; store them with dtype='float32'"):
        replace(_latents(), values=torch.full((1, 64, 3), 1e5)).save(tmp_path / "a.m2l")
    with disk_with(100), pytest.raises(InputError, match="cannot be written"):
        _latents().save(tmp_path / "a.m2l")
    assert not os.listdir(tmp_path)


def _file(path: Path, **metadata: object) -> Path:
    known = {"format": "music2latent.latents", "version": 1} | FACTS | metadata
    save_file({"latents": torch.zeros(1, 64, 3)}, path, {key: json.dumps(value) for key, value in known.items()})
    return path


def test_refused_files(tmp_path: Path) -> None:
    path = tmp_path / "a.m2l"
    _latents().save(path)
    content = path.read_bytes()
    with pytest.raises(InputError, match="no such file"):
        Latents.load(tmp_path / "b.m2l")
    for cut in (0, 4, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:cut])
        with pytest.raises(InputError, match="truncated, or not a .m2l file"):
            Latents.load(path)
    path.write_bytes(b"RIFF....WAVE" * 100)
    with pytest.raises(InputError, match="truncated, or not a .m2l file"):
        Latents.load(path)
    save_file({"latents": torch.zeros(1, 64, 3)}, path)
    with pytest.raises(InputError, match="a safetensors file, but not latents"):
        Latents.load(path)
    with pytest.raises(InputError, match="format version 2, this package reads 1; a newer release"):
        Latents.load(_file(path, version=2))
    with pytest.raises(InputError, match="damaged, wrong or missing: sample_rate, model_id"):
        Latents.load(_file(path, sample_rate="48000", model_id=None))
    assert Latents.load(_file(path)).num_samples == 9000
