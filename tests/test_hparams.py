"""The official package's place for its settings."""

from __future__ import annotations

import pytest

from music2latent import ModelConfig, hparams


def test_settings_of_the_official_model() -> None:
    official = ModelConfig()
    assert (hparams.hop, hparams.bottleneck_channels) == (official.hop_length, official.latent_dim) == (512, 64)
    assert hparams.sigma_max == official.sigma_max
    assert hparams.multipliers_list == official.multipliers_list


@pytest.mark.parametrize("name", ["lr", "max_waveform_length_encode", "to_dict", "__wrapped__"])
def test_others_name_the_new_place(name: str) -> None:
    with pytest.raises(AttributeError, match=r"has no .*EncoderDecoder\(\)\.config.*recipe"):
        getattr(hparams, name)
