"""Facts: the chunks are those of the codec."""

from __future__ import annotations

from music2latent import EncoderDecoder
from music2latent.chunks import decoder_overlap, encoder_context
from music2latent.export.facts import facts_of


def test_facts_are_the_codecs(mini: EncoderDecoder, tiny: EncoderDecoder) -> None:
    for codec in (mini, tiny):
        facts = facts_of(codec.checkpoint, "int8")
        for name in ("model_id", "fingerprint", "sample_rate", "frame_size", "latent_dim", "latent_scale"):
            assert facts[name] == str(getattr(codec, name))
        for name, overlap in {"encoder_chunk": encoder_context, "decoder_chunk": decoder_overlap}.items():
            plan = codec._plan(None, codec.sample_rate, overlap(codec.config))
            assert facts[name] == f"{plan.length} {plan.overlap}"
