"""Files through the codec: what the codec itself gives, in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from music2latent import EncoderDecoder, InputError, Latents
from music2latent.audio import open_audio, read_whole
from music2latent.transcoding import decode_file, encode_file, reconstruct_file

from .helpers import audio_file


def test_encoded_and_decoded_files_are_the_codecs(tmp_path: Path, tiny: EncoderDecoder) -> None:
    song, stored, back = audio_file(tmp_path / "a.wav", 2, 20000, 48000), tmp_path / "a.m2l", tmp_path / "b.wav"
    latents = encode_file(tiny, song, stored)
    assert torch.equal(latents.values, tiny.compress(song).values)
    assert torch.equal(Latents.load(stored).values, latents.rounded().values)
    assert decode_file(tiny, stored, back, seed=3).num_samples == 20000
    expected = tiny.decompress(latents.rounded(), seed=3)
    np.testing.assert_allclose(read_whole(open_audio(back), 48000), expected, atol=1.5 / 32768)


def test_reconstruction_is_encoding_and_decoding(tmp_path: Path, tiny: EncoderDecoder) -> None:
    song = audio_file(tmp_path / "a.wav")
    done: list[float] = []
    found = reconstruct_file(tiny, song, tmp_path / "one.wav", seed=3, progress=done.append)
    encode_file(tiny, song, tmp_path / "a.m2l")
    decode_file(tiny, tmp_path / "a.m2l", tmp_path / "two.wav", seed=3)
    assert (tmp_path / "one.wav").read_bytes() == (tmp_path / "two.wav").read_bytes()
    assert min(found.encode_seconds, found.decode_seconds) > 0
    assert done == sorted(done)
    assert done[-1] == 1


def test_a_format_that_cannot_hold_it_is_refused_before_any_work(
    tmp_path: Path, tiny: EncoderDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = audio_file(tmp_path / "a.wav")
    monkeypatch.setattr(tiny, "compress", lambda *_, **__: pytest.fail("it was encoded"))
    with pytest.raises(InputError, match="cannot hold 44100 Hz"):
        reconstruct_file(tiny, song, tmp_path / "b.opus")
