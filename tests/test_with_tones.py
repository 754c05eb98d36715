"""scripts/with_tones.py: a model that has tones, and does as before until they are told."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from music2latent.checkpoint import write_safetensors
from music2latent.pretrained import load_model
from music2latent.spectrogram import spectrogram

from .helpers import ROOT, reference_checkpoint, sound

sys.path.insert(0, str(ROOT / "scripts"))

with_tones: Any = importlib.import_module("with_tones")


def test_it_encodes_and_decodes_as_before(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "before.safetensors", reference_checkpoint("tiny"))
    with_tones.main(str(tmp_path / "before.safetensors"), tmp_path / "after.safetensors")
    before, after = (load_model(str(tmp_path / f"{name}.safetensors")) for name in ("before", "after"))
    assert after.config.tones
    assert after.config.tone_features
    with pytest.raises(typer.BadParameter, match=r"after\.safetensors has tones already"):
        with_tones.main(str(tmp_path / "after.safetensors"), tmp_path / "again.safetensors")
    assert not before.config.tones
    x = spectrogram(torch.from_numpy(sound(2, 16 * before.config.hop_length + before.config.edge)), 512)
    with torch.no_grad():
        latents = after.encoder(x)
        torch.testing.assert_close(latents, before.encoder(x))
        level = torch.full((2,), before.config.sigma_max)
        noise = before.config.sigma_max * torch.randn(x.shape)
        found, wanted = (model.denoise(noise, level, model.decoder(latents)) for model in (after, before))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-3)
