from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from music2latent import InputError, checkpoint
from music2latent.checkpoint import write_safetensors
from music2latent.chunks import ChunkPlan
from music2latent.pretrained import read_checkpoint

from .helpers import disk_with, reference_checkpoint, tiny_weights


def test_round_trip(tmp_path: Path) -> None:
    saved = replace(
        reference_checkpoint("tiny"), provenance="p", license="l", chunk_plan=ChunkPlan(8, 2), latent_mean=(0.5,) * 64
    )
    write_safetensors(tmp_path / "a.safetensors", saved)
    read = read_checkpoint(tmp_path / "a.safetensors")
    for field in (
        "config",
        "model_id",
        "latent_scale",
        "latent_mean",
        "latent_std",
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


def test_fingerprint_depends_on_weights_and_configuration_alone() -> None:
    one = reference_checkpoint("tiny")
    assert replace(one, model_id="other", license="x").fingerprint() == one.fingerprint()
    assert replace(one, config=replace(one.config, sigma_max=79.0)).fingerprint() != one.fingerprint()
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


def test_full_disk(tmp_path: Path) -> None:
    with disk_with(1000), pytest.raises(InputError, match="nothing was left there"):
        write_safetensors(tmp_path / "a.safetensors", reference_checkpoint("tiny"))
    assert not os.listdir(tmp_path)
