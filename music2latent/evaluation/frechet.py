"""Fréchet Audio Distance between two folders of audio (arXiv 1812.08466), by the package frechet-audio-distance.

An extra of its own, `music2latent[fad]`: its networks are downloaded when first used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..extras import require

NETWORKS: dict[str, dict[str, Any]] = {
    "vggish": {"sample_rate": 16000},
    "clap": {"sample_rate": 48000, "submodel_name": "music_audioset"},
}
"""Whose embeddings are compared, and what its constructor wants."""


def make_distance(network: str) -> Callable[[Path, Path], float]:
    """The distance from a folder of originals to one of reconstructions, in that network's embedding; 0 is best, NaN
    where it cannot be computed.

    Raises:
        InputError: unknown, not installed, or the network could not be downloaded.
    """
    if network not in NETWORKS:
        raise InputError(f"Fréchet Audio Distance by {network!r}; accepted: {', '.join(NETWORKS)}")
    require("fad")
    from frechet_audio_distance import FrechetAudioDistance

    try:
        package = FrechetAudioDistance(model_name=network, verbose=False, **NETWORKS[network])
    except Exception as error:  # whatever a download may raise
        raise InputError(
            f"{network}: its network could not be had ({type(error).__name__}: {error}); it is downloaded once, "
            "and needs a connection for that"
        ) from error

    def distance(originals: Path, reconstructions: Path) -> float:
        found = float(package.score(str(originals), str(reconstructions)))
        return math.nan if found == -1 else found  # -1 is what it returns for any error, which it has printed

    return distance
