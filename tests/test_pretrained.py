"""Names of models, and what each finds."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from music2latent import EncoderDecoder, InputError, load_model, pretrained
from music2latent.checkpoint import write_safetensors
from music2latent.config import PRESETS
from music2latent.hub import Unreachable
from music2latent.pretrained import load_checkpoint

from .helpers import posix, reference_checkpoint


def test_bundled() -> None:
    bundled = load_checkpoint("mini")
    assert bundled.config == PRESETS["mini"]
    assert bundled.license == "MIT"
    assert bundled.provenance
    assert len(bundled.latent_mean) == len(bundled.latent_std) == 64
    spread = np.hypot(bundled.latent_mean, bundled.latent_std)
    assert np.sqrt((spread**2).mean()) / bundled.latent_scale == pytest.approx(1, abs=0.05)
    assert load_model().dtype == torch.float32


def test_licence_of_the_official_weights_is_said_once(tmp_path: Path) -> None:
    pretrained._warn_of_license.cache_clear()
    write_safetensors(tmp_path / "a.safetensors", replace(reference_checkpoint("tiny"), license="CC BY-NC 4.0"))
    with pytest.warns(UserWarning, match="licensed CC BY-NC 4.0: not for commercial use"):
        load_checkpoint(tmp_path / "a.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_checkpoint(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["maxi", "missing.pt", "./missing.safetensors", "a/missing.pt", "a/b/c"])
def test_unknown_name_says_which_are_known(name: str) -> None:
    with pytest.raises(InputError, match=r"unknown model .*mini \(bundled\), official, a path .*, a .* repository id"):
        load_checkpoint(name)


REFUSED: list[Any] = [5, 1.5, b"mini", ["mini"], {}, object(), True]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(InputError, match="^model = .*; expected the name of a model, or a path$"):
        load_checkpoint(name)


@pytest.mark.parametrize("name", ["", " ", "x" * 5000, "a\0b", "\udcff", "mini/", "../..//", "~", "-", "official\n"])
def test_strange_names_are_unknown_models(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError):
        load_checkpoint(name)


def test_the_default_is_the_one_that_the_user_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSIC2LATENT_MODEL", raising=False)
    monkeypatch.setenv("MUSIC2LATENT_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").touch()
    assert load_checkpoint().model_id == load_checkpoint("mini").model_id
    write_safetensors(tmp_path / "tiny.safetensors", reference_checkpoint("tiny"))
    (tmp_path / "config.toml").write_text(f"model = '{tmp_path / 'tiny.safetensors'}'")
    assert load_checkpoint().model_id == load_checkpoint(None).model_id == "tiny"
    assert load_model().config == PRESETS["tiny"]
    assert load_checkpoint("mini").config == PRESETS["mini"]  # what a call names wins


def test_a_default_that_does_not_load_says_who_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSIC2LATENT_MODEL", "gone.pt")
    with pytest.raises(InputError, match=r"unknown model 'gone.pt'.* \(the default model, named by environment "):
        load_checkpoint()
    with pytest.raises(InputError, match="repository id$"):
        load_checkpoint("gone.pt")
    monkeypatch.setenv("MUSIC2LATENT_MODEL", "official")
    with pytest.raises(Unreachable, match=r"'SonyCSLParis/music2latent' is not in .* \(the default model, named by "):
        load_checkpoint(local_files_only=True, cache_dir=tmp_path)


def test_an_alias_wins_over_a_file_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_safetensors("tiny.safetensors", reference_checkpoint("tiny"))
    for name in ("mini", "official"):
        shutil.copy("tiny.safetensors", name)
    assert load_checkpoint("mini").model_id == "mini-v8"
    with pytest.raises(Unreachable, match="'SonyCSLParis/music2latent' is not in the local cache"):
        load_checkpoint("official", local_files_only=True, cache_dir=tmp_path)
    for path in ("./mini", "./official", Path("mini"), Path("official")):
        assert load_checkpoint(path).model_id == "tiny"


@pytest.mark.parametrize("content", [b"", b"\0", b"{", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"])
def test_a_damaged_file_of_ours_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.safetensors: (not a model file; accepted|a Git LFS pointer)") as refused:
        load_checkpoint(tmp_path / "a.safetensors")
    assert len(str(refused.value).splitlines()) == 1


def test_a_checkpoint_of_training_is_known_by_its_folder(tmp_path: Path) -> None:
    torch.save({"version": 2, "ema": {}}, tmp_path / "last.pt")
    with pytest.raises(InputError, match="expected a dict with 'gen_state_dict'"):
        load_checkpoint(tmp_path / "last.pt")
    (tmp_path / "run.json").touch()
    with pytest.raises(InputError, match=r"last\.pt: a checkpoint of a training run; .* music2latent export-weights "):
        load_checkpoint(tmp_path / "last.pt")


@posix
def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a\.pt: not a file"):
        load_checkpoint(tmp_path / "a.pt")
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(InputError, match=r"model\.safetensors: not a file"):
        load_checkpoint(tmp_path)


def test_save_pretrained_and_back(tmp_path: Path, tiny: EncoderDecoder) -> None:
    tiny.save_pretrained(tmp_path / "model")
    assert sorted(os.listdir(tmp_path / "model")) == ["README.md", "config.json", "model.safetensors"]
    assert json.loads((tmp_path / "model" / "config.json").read_text()) == tiny.config.to_dict()
    back = EncoderDecoder.from_pretrained(tmp_path / "model", device="cpu", dtype="float32")
    assert back.fingerprint == tiny.fingerprint
    with pytest.raises(InputError, match=r"a folder without model\.safetensors"):
        load_checkpoint(tmp_path)


def test_trained_weights_are_what_is_saved(tmp_path: Path) -> None:
    codec = EncoderDecoder(model=reference_checkpoint("tiny"), dtype="float32", device="cpu")
    with torch.no_grad():
        codec.gen.denoiser.conv_out.weight.fill_(1.5)
    codec.save_pretrained(tmp_path)
    assert (load_model(tmp_path).denoiser.conv_out.weight == 1.5).all()
    assert (reference_checkpoint("tiny").state_dict["conv_out.weight"] != 1.5).any()  # that one is nobody's
    with pytest.raises(InputError, match="rounded to torch.bfloat16 are not saved; .* dtype='float32'"):
        codec.to(torch.bfloat16).save_pretrained(tmp_path)
