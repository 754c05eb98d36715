"""Recipes: the official one, the presets, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from music2latent import InputError
from music2latent.config import PRESETS
from music2latent.training.config import Recipe, TrainingConfig, load_config
from music2latent.training.objectives import Consistency

ROOT = Path(__file__).parents[2]


OFFICIAL = PRESETS["official"]


def test_official_recipe() -> None:
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
    assert (recipe.P_mean, recipe.P_std, recipe.ema_decay) == (-1.1, 2.0, 0.9999)
    assert config.objectives == {"consistency": Consistency(weight=1.0)}


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
        ("crop_columns=12", "crop_columns = 12; this model needs a multiple of 8"),
        ("lr", "expected key=value"),
        ("objectives.spectrall.weight=1", "unknown objective 'spectrall'; did you mean 'spectral'"),
        ("objectives.spectral.weigth=1", "spectral: unknown key 'weigth'; did you mean 'weight'"),
        ("objectives.spectral.second=2.0", "spectral: second = 2.0; accepted: 0 to 1"),
        ("objectives.spectral=1", "spectral = 1, expected a table of keys"),
        ("objectives.spectral.sizes=[16384]", "windows of 16384 samples; crops of 32 columns have 14848"),
        ("objectives.spectral.weight.x=1", "weight is a key, not a table"),
    ],
)
def test_refused_settings(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(ROOT / "configs" / "tiny.toml", [setting])


def test_something_must_be_learned() -> None:
    with pytest.raises(InputError, match="every objective has weight 0"):
        TrainingConfig(objectives={"consistency": Consistency(weight=0.0)})


def test_refused_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="presets lie in configs/"):
        load_config(tmp_path / "missing.toml")
    (tmp_path / "a.toml").write_text("[model\n")
    with pytest.raises(InputError, match="not TOML"):
        load_config(tmp_path / "a.toml")
