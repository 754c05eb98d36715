"""Names of models, and what each finds."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from music2latent import EncoderDecoder, InputError, load_model, pretrained
from music2latent.checkpoint import write_safetensors
from music2latent.config import PRESETS
from music2latent.pretrained import load_checkpoint

from .helpers import reference_checkpoint


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
