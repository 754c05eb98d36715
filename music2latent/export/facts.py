"""What an exported file says of itself, all of it text."""

from __future__ import annotations

from ..checkpoint import Checkpoint
from ..chunks import decoder_overlap, encoder_context, plan_for

Facts = dict[str, str]

FORMAT = "music2latent.export 1"


def facts_of(checkpoint: Checkpoint, weights: str) -> Facts:
    """Facts by name. Chunks are length and overlap, in latents; of several models the names, with spaces between."""
    config, own = checkpoint.config, checkpoint.chunk_plan
    encoding, decoding = (
        own or plan_for(config.frame_size, config.sample_rate, overlap)
        for overlap in (encoder_context(config), decoder_overlap(config))
    )
    facts = {
        "format": FORMAT,
        "model_id": checkpoint.model_id,
        "fingerprint": checkpoint.fingerprint(),
        "latents_of": " ".join(checkpoint.latents_of),
        "license": checkpoint.license,
        "weights": weights,
        "sample_rate": config.sample_rate,
        "frame_size": config.frame_size,
        "edge": config.edge,
        "bins": config.bins,
        "columns_per_latent": config.columns_per_latent,
        "latent_dim": config.latent_dim,
        "latent_scale": checkpoint.latent_scale,
        "encoder_chunk": f"{encoding.length} {encoding.overlap}",
        "decoder_chunk": f"{decoding.length} {decoding.overlap}",
    }
    return {name: str(fact) for name, fact in facts.items()}
