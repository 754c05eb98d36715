"""Exported weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from music2latent import InputError, load_model
from music2latent.pretrained import read_checkpoint
from music2latent.spectrogram import segment
from music2latent.training.config import load_config
from music2latent.training.data import Crops, index_folder
from music2latent.training.export import export_weights
from music2latent.training.folder import read_state

from ..helpers import Result
from .small import CONFIG, SMALL, train_small


def test_export(data: Path, tmp_path: Path) -> None:
    train_small(data, tmp_path / "run")
    done = Result("export-weights", tmp_path / "run", tmp_path / "out.safetensors", "--save-dtype", "float16")
    assert done.code == 0, done.err
    exported = read_checkpoint(tmp_path / "out.safetensors")
    ema = read_state(tmp_path / "run" / "last.pt")["ema"]
    assert all(torch.equal(w, ema[f"module.{key}"].half()) for key, w in exported.state_dict.items())
    assert "trained 6 iterations, 24 crops" in exported.provenance

    crops = Crops([index_folder(data, 1.0, tmp_path)], 44100, CONFIG.crop_samples, seed=0, min_rms=0.001)
    model = load_model(tmp_path / "out.safetensors")
    with torch.no_grad():
        latents = torch.cat([model.encode(segment(crops[i][None], SMALL.hop_length)) for i in range(64)])
    scaled = latents / exported.latent_scale
    assert scaled.square().mean().sqrt().item() == pytest.approx(1, abs=0.1)
    assert exported.latent_mean == pytest.approx(latents.mean((0, 2)).tolist(), abs=0.1)
    card = (tmp_path / "out.md").read_text()
    assert "inf" not in card  # it was never validated
    (tmp_path / "recipe.toml").write_text(card.split("```toml\n")[1].split("```")[0])
    assert load_config(tmp_path / "recipe.toml") == CONFIG
    with pytest.raises(InputError, match=r"no such checkpoint; expected the --output folder"):
        export_weights(tmp_path, tmp_path / "b.safetensors")
