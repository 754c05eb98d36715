"""Exported weights."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from music2latent import EncoderDecoder, InputError, load_model
from music2latent.checkpoint import write_safetensors
from music2latent.chunks import ChunkPlan
from music2latent.pretrained import read_checkpoint
from music2latent.spectrogram import segment
from music2latent.training.config import load_config
from music2latent.training.data import Crops, index_folder
from music2latent.training.export import export_weights
from music2latent.training.folder import read_state

from ..helpers import Result, check_refused, reference_checkpoint, sound
from .small import CONFIG, SMALL, small_model, train_small


def test_export(data: Path, tmp_path: Path) -> None:
    train_small(data, tmp_path / "run")
    options = ("--save-dtype", "float16", "--license", "CC BY 4.0")
    done = Result("export-weights", tmp_path / "run", tmp_path / "out.safetensors", *options)
    assert done.code == 0, done.err
    exported = read_checkpoint(tmp_path / "out.safetensors")
    ema = read_state(tmp_path / "run" / "last.pt")["ema"]
    assert all(torch.equal(w, ema[f"module.{key}"].half()) for key, w in exported.state_dict.items())
    assert "trained 6 iterations, 24 crops, on 3 s of audio" in exported.provenance

    crops = Crops([index_folder(data, 1.0, tmp_path)], 44100, CONFIG.crop_samples, seed=0, min_rms=0.001)
    model = load_model(tmp_path / "out.safetensors")
    with torch.no_grad():
        latents = torch.cat([model.encode(segment(crops[i][None], SMALL.hop_length)) for i in range(64)])
    scaled = latents / exported.latent_scale
    assert scaled.square().mean().sqrt().item() == pytest.approx(1, abs=0.1)
    assert exported.latent_mean == pytest.approx(latents.mean((0, 2)).tolist(), abs=0.1)
    card = (tmp_path / "out.md").read_text()
    assert "; not validated yet.\n" in card
    assert "on 3 s of audio" in card
    assert "Licence: CC BY 4.0." in card
    (tmp_path / "recipe.toml").write_text(card.split("```toml\n")[1].split("```")[0])
    assert load_config(tmp_path / "recipe.toml") == CONFIG
    with pytest.raises(InputError, match=r"no such checkpoint; expected the --output folder"):
        export_weights(tmp_path, tmp_path / "b.safetensors")


def test_a_licence_is_given_or_inherited(data: Path, tmp_path: Path) -> None:
    theirs = replace(reference_checkpoint("tiny"), config=SMALL, state_dict=small_model().state_dict(), license="CC0")
    write_safetensors(tmp_path / "theirs.safetensors", theirs)
    train_small(data, tmp_path / "run", max_minutes=0, init_from=str(tmp_path / "theirs.safetensors"))
    train_small(data, tmp_path / "run", max_minutes=0)  # and once more, when it goes on without the option
    for name, given, license in (("a", None, "CC0"), ("b", "MIT", "MIT")):
        export_weights(tmp_path / "run", tmp_path / f"{name}.safetensors", license=given, crops=4)
        exported = read_checkpoint(tmp_path / f"{name}.safetensors")
        assert exported.license == license
        assert exported.provenance.startswith("trained from tiny 2 iterations")
        assert f"Licence: {license}." in (tmp_path / f"{name}.md").read_text()


@pytest.mark.parametrize("freeze", [True, False])
def test_latents_of_a_frozen_encoder_stay_what_they_are(data: Path, tmp_path: Path, freeze: bool) -> None:
    """Or data sets of them would no longer fit the model."""
    dim = SMALL.latent_dim
    units: dict[str, Any] = {"latent_scale": 0.123, "latent_mean": (0.25,) * dim, "latent_std": (0.5,) * dim}
    units["chunk_plan"] = ChunkPlan(30, 3)
    facts = units | {"config": SMALL, "state_dict": small_model().state_dict(), "latents_of": ("a",)}
    start = replace(reference_checkpoint("tiny"), **facts)
    write_safetensors(tmp_path / "start.safetensors", start)
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, freeze_encoder=freeze))
    train_small(data, tmp_path / "run", config, max_minutes=0, init_from=str(tmp_path / "start.safetensors"))
    train_small(data, tmp_path / "run", config, max_minutes=0)
    found = export_weights(tmp_path / "run", tmp_path / "out.safetensors", crops=4)
    assert {name: getattr(found, name) == value for name, value in units.items()} == dict.fromkeys(units, freeze)
    assert found.latents_of == ((start.fingerprint(), "a") if freeze else ())
    one, two = (
        EncoderDecoder(model=model, dtype="float32").compress(sound(1, 9000), 44100) for model in (start, found)
    )
    assert torch.equal(one.values, two.values) == freeze


def test_refused_exports(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_small(data, run, max_minutes=0)
    check_refused(tmp_path, "models are written to files ending in", "export-weights", run, tmp_path / "a.pt")
    (tmp_path / "README.md").write_text("mine")
    check_refused(tmp_path, "README.md: exists already", "export-weights", run, tmp_path / "README.safetensors")
    state = read_state(run / "last.pt")
    for weight, value in (("encoder.conv_inp.weight", math.nan), ("denoiser.conv_out.bias", -math.inf)):
        name = next(key for key in state["ema"] if key.endswith(weight.split(".")[-1]))
        broken = state["ema"] | {name: torch.full_like(state["ema"][name], value)}
        torch.save(state | {"ema": broken}, run / "last.pt")
        message = f"last.pt: 1 weights are not finite, '{name}' the first"
        check_refused(tmp_path, message, "export-weights", run, tmp_path / "a.safetensors")
    torch.save(state, run / "last.pt")
    (run / "run.json").write_text("{}")
    check_refused(tmp_path, "run.json: missing, damaged", "export-weights", run, tmp_path / "a.safetensors")
