from __future__ import annotations

from pathlib import Path

from music2latent import Latents

from ..inline import least, made, sounds


def test_as_the_codec_sees_it(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio/deep", [3000], rate=22050, channels=2).parent
    made([folder], tmp_path / "set", format="m2l")
    latents = Latents.load(tmp_path / "set/deep/000.m2l")  # the audio's tree
    assert least().decompress(latents).shape == (2, 3000)
