from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from music2latent import InputError, checkpoint
from music2latent.checkpoint import write_safetensors
from music2latent.chunks import ChunkPlan
from music2latent.pretrained import read_checkpoint

from .helpers import disk_with, least_checkpoint, reference_checkpoint, tiny_weights


def test_round_trip(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"chunk_plan": ChunkPlan(8, 2), "latent_mean": (0.5,) * 64, "latents_of": ("a", "b")}
    saved = replace(reference_checkpoint("tiny"), provenance="p", license="l", **facts)
    write_safetensors(tmp_path / "a.safetensors", saved)
    read = read_checkpoint(tmp_path / "a.safetensors")
    for field in (
        "config",
        "model_id",
        "latent_scale",
        "latent_mean",
        "latent_std",
        "latents_of",
        "chunk_plan",
        "provenance",
        "license",
    ):
        assert getattr(read, field) == getattr(saved, field)
    assert all(torch.equal(read.state_dict[key], value) for key, value in saved.state_dict.items())
    assert read.fingerprint() == saved.fingerprint()
    write_safetensors(tmp_path / "half.safetensors", saved, dtype="float16")
    size = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert size["half.safetensors"] < 0.55 * size["a.safetensors"]


def test_fingerprints_stay_what_stored_latents_name() -> None:
    assert reference_checkpoint("tiny").fingerprint().startswith("d1b7c88b7421648d3828c409d2b94a6f")


def test_fingerprint_depends_on_what_decodes_alone() -> None:
    one = reference_checkpoint("tiny")
    assert replace(one, model_id="other", license="x").fingerprint() == one.fingerprint()
    assert replace(one, config=replace(one.config, sigma_max=79.0)).fingerprint() != one.fingerprint()
    assert replace(one, latent_scale=0.07).fingerprint() != one.fingerprint()
    changed = tiny_weights()
    changed["conv_out.bias"] = changed["conv_out.bias"] + 1e-6
    assert replace(one, state_dict=changed).fingerprint() != one.fingerprint()


@pytest.mark.parametrize("kind", ["missing", "unexpected", "of another shape"])
def test_weights_that_do_not_fit_are_named(kind: str) -> None:
    weights, key = tiny_weights(), "encoder.conv_inp.weight"
    if kind == "missing":
        del weights[key]
    elif kind == "unexpected":
        key = "encoder.extra.weight"
        weights[key] = torch.zeros(1)
    else:
        weights[key] = torch.zeros(8, 1, 3, 3)
        key = r"encoder.conv_inp.weight \[8, 1, 3, 3\] instead of \[8, 2, 3, 3\]"
    with pytest.raises(InputError, match=f"{kind}: {key}"):
        replace(reference_checkpoint("tiny"), state_dict=weights)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool, torch.float8_e4m3fn, torch.complex64])
def test_weights_that_are_no_floats(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match=r"not of a float type: encoder\.\S+ torch\.\w+, .* and 412 more$") as found:
        replace(reference_checkpoint("tiny"), state_dict={key: w.to(dtype) for key, w in tiny_weights().items()})
    assert len(str(found.value)) < 300


@pytest.mark.parametrize("dtype", checkpoint.FLOATS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_weights_that_are_not_finite(value: float, dtype: torch.dtype) -> None:
    weights = {key: weight.to(dtype) for key, weight in tiny_weights().items()}
    assert replace(reference_checkpoint("tiny"), state_dict=weights).build().dtype == dtype
    weights["conv_out.bias"] = torch.tensor([0, value], dtype=torch.float64).to(dtype)
    with pytest.raises(InputError, match="NaN, infinite or beyond float32: conv_out.bias"):
        replace(reference_checkpoint("tiny"), state_dict=weights)


SCALES: list[Any] = [0, -1, math.nan, math.inf, 10**400, "1", True, None, []]


@pytest.mark.parametrize(
    "facts",
    [
        *({"latent_scale": bad} for bad in SCALES),
        *({"latent_mean": bad} for bad in ((0.0,), (math.nan,) * 64, ("a",) * 64, (2.0,) * 64)),
        {"latent_std": (-1.0,) * 64},
        {"latents_of": (1,)},
        {"chunk_plan": ChunkPlan(5000, 0)},
    ],
)
def test_facts_that_cannot_be(facts: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="; accepted: ") as found:
        replace(reference_checkpoint("tiny"), **facts)
    assert len(str(found.value)) < 300


def test_weights_beyond_float16(tmp_path: Path) -> None:
    weights = tiny_weights()
    weights["conv_out.bias"] = torch.tensor([0.0, 1e5])
    large = replace(reference_checkpoint("tiny"), state_dict=weights)
    with pytest.raises(InputError, match="conv_out.bias is beyond float16's 65504"):
        write_safetensors(tmp_path / "a.safetensors", large, dtype="float16")
    assert not os.listdir(tmp_path)


def test_refused_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="not a model of this package"):
        read_checkpoint(path)
    save_file({"x": torch.zeros(1)}, path, {"format": checkpoint.FORMAT, "format_version": "2"})
    with pytest.raises(InputError, match="version 2, this package reads 1"):
        read_checkpoint(path)
    save_file({"x": torch.zeros(1)}, path, {"format": checkpoint.FORMAT, "format_version": "1"})
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(path)
    write_safetensors(path, reference_checkpoint("tiny"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(path)
    path.write_bytes(path.read_bytes()[:1])
    with pytest.raises(InputError, match="not a model file; accepted: .safetensors files of this package, .pt files"):
        read_checkpoint(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 17719820\n")
    with pytest.raises(InputError, match="a Git LFS pointer, not the file; run git lfs pull"):
        read_checkpoint(path)


@pytest.mark.parametrize("key", ["config", "latents", "chunk_plan"])
@pytest.mark.parametrize(
    "value", ["", "{", "[1]", "0", '"a"', "{}", "[" * 10**5, "9" * 5000, '{"scale": NaN, "mean": [], "std": []}']
)
def test_metadata_of_any_kind(tmp_path: Path, key: str, value: str) -> None:
    least = least_checkpoint()
    path = tmp_path / "a.safetensors"
    write_safetensors(path, least)
    with safe_open(path, "pt") as file:
        metadata = file.metadata() | {key: value}
    save_file(dict(least.state_dict), path, metadata)
    with pytest.raises(InputError) as found:
        read_checkpoint(path)
    assert len(str(found.value).removeprefix(str(path)).splitlines()) == 1
    assert len(str(found.value)) < 800


def test_a_file_that_is_read_may_be_truncated(tmp_path: Path) -> None:
    """Were it mapped, reading its weights would end the process."""
    path = tmp_path / "a.safetensors"
    write_safetensors(path, reference_checkpoint("tiny"))
    read = read_checkpoint(path)
    os.truncate(path, 0)
    assert read.fingerprint() == reference_checkpoint("tiny").fingerprint()


def test_full_disk(tmp_path: Path) -> None:
    with disk_with(1000), pytest.raises(InputError, match="nothing was left there"):
        write_safetensors(tmp_path / "a.safetensors", reference_checkpoint("tiny"))
    assert not os.listdir(tmp_path)
