from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from music2latent import InputError, ModelConfig
from music2latent.autoencoder import parameter_shapes
from music2latent.config import PRESETS
from music2latent.noise import sigma_levels

from .helpers import least_checkpoint

LISTS = ("multipliers_list", "layers_list", "attention_list", "layers_list_encoder", "attention_list_encoder")
NUMBERS = st.one_of(st.integers(), st.sampled_from([0, 2**31, 2**63, 10**400]), st.floats())
HOSTILE = st.recursive(NUMBERS | st.booleans() | st.none() | st.text(), st.lists, max_leaves=8)
"""Whatever JSON can hold, and NaN."""


@pytest.mark.parametrize("name", PRESETS)
def test_json_round_trip(name: str) -> None:
    config = PRESETS[name]
    assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_unknown_key_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'base_chanels'; did you mean 'base_channels'\?"):
        ModelConfig.from_dict({"base_chanels": 8})


@pytest.mark.parametrize("bad", [{"heads": "four"}, {"heads": 4.5}, {"layers_list": 2}, {"layers_list": [1.5] * 5}])
def test_wrong_type_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InputError, match="expected the kind of"):
        ModelConfig.from_dict(bad)


def test_lists_must_agree_in_length() -> None:
    with pytest.raises(InputError, match=r"freq_downsample_list has 3 entries, 5 levels .* need 4"):
        ModelConfig(freq_downsample_list=(1, 0, 0))


@settings(max_examples=60, deadline=10_000)
@given(st.sampled_from(sorted(PRESETS["tiny"].to_dict())), HOSTILE)
def test_every_value_is_accepted_or_refused_in_one_line(key: str, value: Any) -> None:
    """And what is accepted is built, in moderate time and memory."""
    try:
        config = ModelConfig.from_dict(least_checkpoint().config.to_dict() | {key: value})
    except InputError as error:
        message = str(error)
    else:
        message = "accepted"
        assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
        assert parameter_shapes(config)
        assert all(math.isfinite(sigma) for sigma in sigma_levels(config, 3))
    assert len(message.splitlines()) == 1
    assert len(message) < 300


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"layers_list": [10**4] * 5}, "layers_list = .*; accepted: 1 to 8"),
        ({"bottleneck_base_channels": 10**5}, "bottleneck_base_channels = 100000; accepted: 4 to 16384"),
        ({"bottleneck_base_channels": 16384, "num_bottleneck_layers": 32}, r"a model of more than 2e\+09 weights"),
        ({"multipliers_list": [1] * 10**5}, "layers_list has 5 entries"),
        ({key: [1] * 13 for key in LISTS} | {"freq_downsample_list": [1] * 12}, "13 levels; accepted: 1 to 12"),
        ({"layers_list": [8] * 5, "layers_list_encoder": [5] * 5}, "65 residual blocks on all levels"),
        ({key: [] for key in LISTS}, "0 levels"),
        ({"sigma_max": math.nan}, "sigma_max = nan, expected"),
        ({"sigma_max": 10**400}, "sigma_max = 10+.*, expected"),
        ({"sigma_max": 0}, "sigma_max = 0.0; accepted"),
        ({"sigma_max": 0.001}, "sigma_max = 0.001 is not above sigma_min"),
        ({"sigma_floor": 90}, "sigma_max = 80.0 is not above sigma_min and sigma_floor, 90.0"),
        ({"rho": 1e-3}, "rho = 0.001; accepted: 1 to 100"),
        ({"sample_rate": 1}, "sample_rate = 1; accepted: 1000 to 768000"),
        ({"heads": 3}, "heads = 3 does not divide"),
        ({"base_channels": 9}, "cannot be normalised"),
        ({"cond_channels": 5}, "must be even"),
        ({"hop_length": 3}, "6 frequency bins, the levels need a multiple of 32"),
        ([], r"\[\], expected keys and values"),
    ],
)
def test_models_that_cannot_be(bad: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ModelConfig.from_dict(bad)


def test_what_comes_from_python_is_checked_likewise() -> None:
    with pytest.raises(InputError, match="expected the kind of 4"):
        ModelConfig(heads="four")  # type: ignore[arg-type]
    assert type(ModelConfig(rho=3).rho) is float


@pytest.mark.parametrize("config", PRESETS.values())
def test_rough_size_is_roughly_the_size(config: ModelConfig) -> None:
    size = sum(shape.numel() for shape in parameter_shapes(config).values())
    assert 0.5 * size < config._rough_size() < size


def test_official_numbers() -> None:
    config = PRESETS["official"]
    assert (config.frame_size, config.feature_dim, config.edge, config.bins) == (4096, 8192, 1536, 1024)
    assert config.sample_rate / config.frame_size == pytest.approx(10.77, abs=0.01)
