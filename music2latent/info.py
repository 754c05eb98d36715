"""What a file or a model is: the facts that `music2latent info` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .audio import FORMATS, open_audio
from .autoencoder import parameter_shapes
from .latents import SUFFIX, Latents
from .pretrained import load_checkpoint
from .settings import default_model


def facts_of(name: str | None = None) -> dict[str, Any]:
    """Facts by name; the suffix says whether it is audio, latents or else a model. None is the default model.

    Raises:
        InputError: what cannot be read.
    """
    suffix = Path(name or "").suffix.lower()
    if name and suffix in FORMATS:
        source = open_audio(name)
        return {
            "audio": name,
            "format": source.format,
            "sample_rate": source.sample_rate,
            "channels": source.channels,
            "num_samples": source.num_samples,
            "seconds": round(source.duration, 3),
        }
    if name and suffix == SUFFIX:
        latents = Latents.load(name)
        return {
            "latents": name,
            "shape": list(latents.values.shape),
            "sample_rate": latents.sample_rate,
            "num_samples": latents.num_samples,
            "seconds": round(latents.duration, 3),
            "coding_rate": latents.coding_rate,
            "kbit_per_second": round(latents.bitrate(), 2),
            "model_id": latents.model_id,
            "fingerprint": latents.fingerprint,
        }
    default = default_model()
    checkpoint = load_checkpoint(name)
    config = checkpoint.config
    return {
        "model": default.name if name is None else name,
        "default_model": str(default),
        "model_id": checkpoint.model_id,
        "num_parameters": sum(shape.numel() for shape in parameter_shapes(config).values()),
        "latent_dim": config.latent_dim,
        "frame_size": config.frame_size,
        "frame_rate": round(config.frame_rate, 3),
        "sample_rate": config.sample_rate,
        "latent_scale": checkpoint.latent_scale,
        "fingerprint": checkpoint.fingerprint(),
        **({"latents_of": list(checkpoint.latents_of)} if checkpoint.latents_of else {}),
        "license": checkpoint.license,
        "provenance": checkpoint.provenance,
        "config": json.dumps(config.to_dict()),
    }
