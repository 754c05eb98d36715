from __future__ import annotations

import json

import pytest

from music2latent import InputError, ModelConfig
from music2latent.config import PRESETS


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


def test_official_numbers() -> None:
    config = PRESETS["official"]
    assert (config.frame_size, config.feature_dim, config.edge, config.bins) == (4096, 8192, 1536, 1024)
    assert config.sample_rate / config.frame_size == pytest.approx(10.77, abs=0.01)
