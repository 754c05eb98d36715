"""Recipes: the published one, the presets, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from music2latent import InputError
from music2latent.config import PRESETS
from music2latent.training.config import Recipe, TrainingConfig, load_config
from music2latent.training.summary import summary

from ..cli.test_coding import Result

ROOT = Path(__file__).parents[2]
OFFICIAL = PRESETS["official"]


def test_published_recipe() -> None:
    config = load_config(ROOT / "configs" / "official.toml")
    assert config == TrainingConfig(OFFICIAL, Recipe())
    assert config.crop_samples == 34304
    recipe = config.recipe
    assert (recipe.batch_size, recipe.iterations, recipe.lr, recipe.final_lr, recipe.warmup) == (
        16,
        800000,
        1e-4,
        1e-6,
        10000,
    )
    assert (recipe.P_mean, recipe.P_std, recipe.ema_decay, recipe.spectral_weight) == (-1.1, 2.0, 0.9999, 0)


@pytest.mark.parametrize("name", ["official", "mini", "tiny"])
def test_presets_survive_a_round_trip(name: str) -> None:
    config = load_config(ROOT / "configs" / f"{name}.toml")
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.model == PRESETS[name]


def test_settings() -> None:
    config = load_config(ROOT / "configs" / "tiny.toml", ["lr=2e-3", "training.precision=bf16", "model.heads=4"])
    assert (config.recipe.lr, config.recipe.precision, config.model.heads) == (2e-3, "bf16", 4)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lrr=1", "unknown key 'lrr'; did you mean 'lr'"),
        ("modell.heads=1", "unknown table 'modell'; did you mean 'model'"),
        ("model.head=1", "unknown key 'head'; did you mean 'heads'"),
        ("lr=fast", "lr = 'fast', expected the kind of 0.0001"),
        ("batch_size=0", "batch_size = 0; it must be 1 or more"),
        ("precision=fp8", "precision = 'fp8'; accepted: no, fp16, bf16"),
        ("crop_frames=12", "crop_frames = 12; this model needs a multiple of 8"),
        ("lr", "expected key=value"),
    ],
)
def test_refused_settings(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(ROOT / "configs" / "tiny.toml", [setting])


def test_refused_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="presets lie in configs/"):
        load_config(tmp_path / "missing.toml")
    (tmp_path / "a.toml").write_text("[model\n")
    with pytest.raises(InputError, match="not TOML"):
        load_config(tmp_path / "a.toml")


def test_dry_run() -> None:
    done = Result("train", ROOT / "configs" / "tiny.toml", "--dry-run", "--set", "lr=2e-3")
    printed = json.loads(done.out)
    assert printed["training"]["lr"] == 2e-3
    assert printed["cost"]["parameters"] == 487170
    more = summary(load_config(ROOT / "configs" / "tiny.toml", ["batch_size=16"]))
    once = printed["cost"]
    assert more["gflop_per_iteration"] == pytest.approx(2 * once["gflop_per_iteration"], rel=0.01)
    assert more["gib_activations_float32"] == pytest.approx(2 * once["gib_activations_float32"], rel=0.1)
