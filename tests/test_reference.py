"""Vectors of the official system: same weights, audio and noise in, same latents and audio out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from .helpers import CASES, REFERENCE, reference_codec, relative_error
from .reference import fill_weights


def starred(draw: Callable[..., np.ndarray]) -> Callable[[tuple[int, ...]], np.ndarray]:
    return lambda shape: draw(*shape)


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in CASES for case in CASES[name]])
def test_vectors(name: str, case: str) -> None:
    codec, arguments = reference_codec(name), CASES[name][case]
    expected = np.load(REFERENCE / f"{name}-{case}.npz")
    audio = fill_weights.audio(arguments["audio_seed"], arguments["channels"], arguments["samples"])

    latents = codec.encode(audio, **arguments["encode"])
    assert latents.shape == expected["latents"].shape
    assert relative_error(latents, expected["latents"]) < 1e-5
    if "features" in expected:
        features = codec.encode(audio, **arguments["encode"], extract_features=True)
        # the official features are stored in float16
        assert relative_error(features, expected["features"]) < (5e-4 if name == "official" else 1e-5)

    for values, limit in ((expected["latents"], 1e-5), (latents, 2e-5)):
        drawn = starred(fill_weights.noise(arguments["noise_seed"]))
        decoded = codec.decode(values, **arguments["decode"], noise=drawn)
        assert decoded.shape == expected["decoded"].shape
        assert relative_error(decoded, expected["decoded"]) < limit
