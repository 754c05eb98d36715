"""The page that goes with a model's weights."""

from __future__ import annotations

from .checkpoint import Checkpoint


def model_card(checkpoint: Checkpoint, notes: str = "") -> str:
    """What a checkpoint says of itself, with the hub's header, and `notes` (Markdown) at its end."""
    name, provenance, license = (
        " ".join(text.split()) for text in (checkpoint.model_id, checkpoint.provenance, checkpoint.license)
    )
    return (
        f"---\nlibrary_name: music2latent\ntags: [audio, autoencoder]\n---\n# {name}\n\n"
        f"{provenance or 'Who trained it, and on what, is not recorded.'}\n\n"
        f"{f'Licence: {license}.' if license else 'No licence is stated.'} Use it with\n\n"
        '```python\nfrom music2latent import EncoderDecoder\n\ncodec = EncoderDecoder(model="OWNER/NAME")\n```\n'
        + (f"\n{notes}\n" if notes else "")
    )
