"""Facts of files and models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from music2latent import EncoderDecoder, InputError
from music2latent.checkpoint import write_safetensors
from music2latent.info import facts_of
from music2latent.transcoding import encode_file

from .helpers import CLIP, audio_file, reference_checkpoint


def test_facts_of_audio_latents_and_a_model(tmp_path: Path, tiny: EncoderDecoder) -> None:
    song = audio_file(tmp_path / "a.flac", 2, 24000, 48000)
    encode_file(tiny, song, tmp_path / "a.m2l")
    write_safetensors(tmp_path / "tiny.safetensors", replace(reference_checkpoint("tiny"), latents_of=("a", "b")))
    audio, latents, model = (facts_of(str(tmp_path / name)) for name in ("a.flac", "a.m2l", "tiny.safetensors"))
    assert (audio["format"], audio["sample_rate"], audio["channels"], audio["seconds"]) == (
        "FLAC PCM_16",
        48000,
        2,
        0.5,
    )
    assert (latents["shape"], latents["model_id"], latents["seconds"]) == ([2, 64, 6], "tiny", 0.5)
    assert model["num_parameters"] == tiny.num_parameters
    assert model["fingerprint"] == latents["fingerprint"] == tiny.fingerprint
    assert model["latents_of"] == ["a", "b"]
    assert "latents_of" not in facts_of("mini")
    assert (model["frame_size"], model["frame_rate"]) == (4096, 10.767)


def test_what_it_does_not_know(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown model"):
        facts_of(str(tmp_path / "nothing"))


def test_the_default_model_and_who_named_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSIC2LATENT_MODEL", raising=False)
    monkeypatch.setenv("MUSIC2LATENT_CONFIG", str(tmp_path / "config.toml"))
    (tmp_path / "config.toml").touch()
    built_in = facts_of()
    assert (built_in["model"], built_in["default_model"]) == ("mini", "mini (built in)")
    assert built_in == facts_of("mini")
    path = tmp_path / "tiny.safetensors"
    write_safetensors(path, reference_checkpoint("tiny"))
    monkeypatch.setenv("MUSIC2LATENT_MODEL", str(path))
    named = f"{path} (environment variable MUSIC2LATENT_MODEL)"
    assert facts_of("mini") == built_in | {"default_model": named}
    assert (facts_of()["model"], facts_of()["default_model"], facts_of()["model_id"]) == (str(path), named, "tiny")
    assert "default_model" not in facts_of(str(CLIP))
