from __future__ import annotations

import pytest

from music2latent import EncoderDecoder

from .helpers import reference_codec


@pytest.fixture(scope="session")
def tiny() -> EncoderDecoder:
    """A small model with known random weights."""
    return reference_codec("tiny")


@pytest.fixture(scope="session")
def mini() -> EncoderDecoder:
    """The bundled model."""
    return EncoderDecoder(device="cpu", dtype="float32")
