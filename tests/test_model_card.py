"""The page that goes with weights."""

from __future__ import annotations

from dataclasses import replace

from music2latent.model_card import model_card

from .helpers import reference_checkpoint


def test_a_card_has_the_hubs_header_and_what_is_known() -> None:
    checkpoint = replace(reference_checkpoint("tiny"), model_id="piano", provenance="Trained on pianos.", license="CC0")
    card = model_card(checkpoint, "Latent scale 0.1.")
    header, _, body = card.removeprefix("---\n").partition("\n---\n")
    assert header == "library_name: music2latent\ntags: [audio, autoencoder]"
    assert body.startswith("# piano\n\nTrained on pianos.\n\nLicence: CC0.")
    assert body.endswith("```\n\nLatent scale 0.1.\n")
    assert "EncoderDecoder(model=" in body


def test_what_is_not_known_is_said_to_be_so() -> None:
    card = model_card(replace(reference_checkpoint("tiny"), model_id="pi\n---\nano", provenance=" ", license=""))
    assert "# pi --- ano\n\nWho trained it, and on what, is not recorded.\n\nNo licence is stated. Use it with" in card
    assert "Licence: ." not in card
