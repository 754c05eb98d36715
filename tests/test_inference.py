"""The official package's place for the codec."""

from __future__ import annotations

import music2latent
from music2latent.inference import EncoderDecoder


def test_it_is_the_same_class() -> None:
    assert EncoderDecoder is music2latent.EncoderDecoder


def test_public_names_are_offered_for_completion() -> None:
    assert set(music2latent.__all__) <= set(dir(music2latent))
