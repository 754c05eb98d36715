"""The page that goes with a model's weights."""

from __future__ import annotations

from .checkpoint import Checkpoint


def model_card(checkpoint: Checkpoint, notes: str = "") -> str:
    """What a checkpoint says of itself, with the hub's header, and `notes` (Markdown) at its end."""
    return (
        f"---\nlibrary_name: music2latent\ntags: [audio, autoencoder]\n---\n# {checkpoint.model_id}\n\n"
        f"{checkpoint.provenance}\n\nLicence: {checkpoint.license}. Use it with\n\n"
        '```python\nfrom music2latent import EncoderDecoder\n\ncodec = EncoderDecoder(model="OWNER/NAME")\n```\n'
        + (f"\n{notes}\n" if notes else "")
    )
