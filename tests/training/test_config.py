"""Recipes: the official one, the presets, what is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from music2latent import InputError
from music2latent.config import PRESETS
from music2latent.training.config import Recipe, TrainingConfig, load_config, recipe_names
from music2latent.training.objectives import OBJECTIVES, Consistency, Readout
from music2latent.training.ranges import check_ranges

OFFICIAL = PRESETS["official"]


def test_official_recipe() -> None:
    config = load_config("official")
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


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_survive_a_round_trip(name: str) -> None:
    config = load_config(name)
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.model == PRESETS["mini" if name == "finetune" else name]


def test_a_bare_name_is_a_recipe_whatever_lies_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tiny", "mine"):
        Path(name).write_text("[training]\nlr = 0.125\n")
    assert load_config("tiny").model == PRESETS["tiny"]
    assert load_config("./tiny").recipe.lr == load_config(tmp_path / "mine").recipe.lr == 0.125
    known = "accepted: finetune, mini, official, tiny, or a .toml file"
    with pytest.raises(InputError, match=rf"^mine: no such recipe; {known} \(or ./mine, if you mean the file\)$"):
        load_config("mine")
    with pytest.raises(InputError, match=rf"^big: no such recipe; {known}$"):
        load_config("big")


HOSTILE: list[Any] = [
    *(math.nan, math.inf, -math.inf, -1, -1.0, 0, 2**63, 2**64, 10**400, 16**5000, -(2**63), 1e300, 5e-324),
    *(True, None, "x", "", [], [[]], [-1], [0], [math.nan], [2**63], {}, {"a": {}}),
]


def _keys() -> list[tuple[str, ...]]:
    """The place of every setting."""
    whole = TrainingConfig(PRESETS["mini"], objectives={name: kind() for name, kind in OBJECTIVES.items()}).to_dict()
    objectives = [("objectives", name, key) for name, table in whole["objectives"].items() for key in table]
    return [*(("training", key) for key in whole["training"]), *objectives]


@pytest.mark.parametrize("place", _keys(), ids=".".join)
def test_a_setting_is_in_its_range_or_refused_in_a_line(place: tuple[str, ...]) -> None:
    messages: list[str] = []
    for value in HOSTILE:
        values: dict[str, Any] = {place[-1]: value}
        for name in reversed(place[:-1]):
            values = {name: values}
        try:
            config = TrainingConfig.from_dict(values)
        except InputError as error:
            messages.append(str(error))
            continue
        table: Any = config.recipe if place[0] == "training" else config.objectives[place[1]]
        check_ranges("", table)
        facts = {field.name: field.metadata for field in dataclasses.fields(table)}[place[-1]]
        assert facts or isinstance(value, bool)  # every number and word has a range
        json.dumps(config.to_dict(), allow_nan=False)
    assert len(messages) > len(HOSTILE) / 2
    assert not [message for message in messages if "\n" in message]


def test_settings() -> None:
    config = load_config("tiny", ["lr=2e-3", "training.precision=bf16", "model.heads=4"])
    assert (config.recipe.lr, config.recipe.precision, config.model.heads) == (2e-3, "bf16", 4)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lrr=1", "unknown key 'lrr'; did you mean 'lr'"),
        ("modell.heads=1", "unknown table 'modell'; did you mean 'model'"),
        ("model.head=1", "unknown key 'head'; did you mean 'heads'"),
        ("lr=fast", "lr = 'fast', expected the kind of 0.0001"),
        ("batch_size=0", "batch_size = 0; accepted: 1 to 65536"),
        ("precision=fp8", "precision = 'fp8'; accepted: fp16, bf16, no, auto"),
        ("crop_columns=12", "crop_columns = 12; this model needs a multiple of 8, at least 8"),
        ("lr=nan", "lr = nan, expected the kind of 0.0001"),
        ("objectives.spectral.sizes=[]", r"spectral: sizes = \(\); accepted: one or more numbers from 16 to 65536"),
        ("objectives.spectral.sizes=[512, 0]", r"spectral: sizes = \(512, 0\); accepted"),
        ("model.preset=[]", r"preset \[\]; accepted: official, mini, tiny"),
        ("lr=1" + 400 * "0", "lr = 10000.*, expected the kind of 0.0001"),
        ("lr", "expected key=value"),
        ("seed=1\n[model]\nrho=1", "more than one setting; give each its own --set"),
        ("objectives.spectrall.weight=1", "unknown objective 'spectrall'; did you mean 'spectral'"),
        ("objectives.spectral.weigth=1", "spectral: unknown key 'weigth'; did you mean 'weight'"),
        ("objectives.spectral.second=2.0", "spectral: second = 2.0; accepted: 0.0 to 1.0"),
        ("objectives.spectral=1", "spectral = 1, expected a table of keys"),
        ("objectives.spectral.sizes=[16384]", "windows of 16384 samples; crops of 32 columns have 14848"),
        ("objectives.constant_q.sizes=[32]", r"constant_q: sizes = \(32,\); accepted: one or more numbers from 48"),
        ("objectives.bands.sizes=[128]", "windows of 128 samples cannot tell 24 bands per octave apart; set sizes"),
        ("objectives.spectral.weight.x=1", "weight is a key, not a table"),
    ],
)
def test_refused_settings(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config("tiny", [setting])


def test_what_is_left_out_need_not_fit() -> None:
    assert "constant_q" not in load_config("tiny", ["objectives.constant_q.weight=0"]).active
    with pytest.raises(InputError, match="constant_q: windows of 16384 samples; crops of 32 columns have 14848"):
        load_config("tiny", ["objectives.constant_q.weight=1"])


def test_something_must_be_learned() -> None:
    with pytest.raises(InputError, match="every objective has weight 0"):
        TrainingConfig(objectives={"consistency": Consistency(weight=0.0)})
    with pytest.raises(InputError, match="freeze_encoder = true, and no objective looks at what is decoded"):
        TrainingConfig(recipe=Recipe(freeze_encoder=True), objectives={"readout": Readout()})


def test_refused_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing.toml: no such recipe; accepted: .*tiny"):
        load_config(tmp_path / "missing.toml")
    for content in (b"[model\n", b"\xff\xfe", b"a = " + 3000 * b"[", b"a = 1" + 5000 * b"0"):
        (tmp_path / "a.toml").write_bytes(content)
        with pytest.raises(InputError, match=r"a.toml: (not TOML|cannot be read as a recipe)"):
            load_config(tmp_path / "a.toml")
