"""What a run would cost."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from music2latent.training.config import load_config, recipe_names
from music2latent.training.objectives import OBJECTIVES
from music2latent.training.summary import summary

from ..helpers import Result


def test_dry_run() -> None:
    done = Result("train", "tiny", "--dry-run", "--set", "lr=2e-3")
    printed = json.loads(done.out)
    assert printed["training"]["lr"] == 2e-3
    assert printed["cost"]["parameters"] == 487170
    more = summary(load_config("tiny", ["batch_size=16"]))
    once = printed["cost"]
    assert more["gflop_per_iteration"] == pytest.approx(2 * once["gflop_per_iteration"], rel=0.01)
    assert more["gib_activations_float32"] == pytest.approx(2 * once["gib_activations_float32"], rel=0.1)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_has_a_cost(name: str) -> None:
    assert summary(load_config(name))["gflop_per_iteration"] > 1


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_has_a_cost(name: str) -> None:
    config = load_config("tiny", ["crop_columns=64"])  # as long as the longest windows
    config = replace(config, model=replace(config.model, tones=True))
    alone = replace(config, objectives={name: OBJECTIVES[name]()})
    assert 0 < summary(alone)["gflop_per_iteration"] < 2 * summary(config)["gflop_per_iteration"]


def test_what_is_frozen_costs_less() -> None:
    whole, frozen = (summary(load_config("mini", [f"freeze_encoder={value}"])) for value in ("false", "true"))
    for key in ("gflop_per_iteration", "gib_weights_and_optimizer", "gib_activations_float32"):
        assert frozen[key] < 0.95 * whole[key], key
