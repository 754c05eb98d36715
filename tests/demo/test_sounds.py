"""What the page does with files, without the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from music2latent import EncoderDecoder, InputError, Latents
from music2latent.audio import write_audio
from music2latent.demo.sounds import Coder, check_clip, check_length, decode, encode_both, reconstruct

from ..helpers import audio_file


def _wave(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32", always_2d=True)[0].T


def test_a_clip_comes_back_beside_its_original(tmp_path: Path, tiny: EncoderDecoder) -> None:
    clip, told = audio_file(tmp_path / "a song.flac", 2, 12_345, 22_050), []
    coder = Coder(codec=tiny, num_steps=2, seed=3)
    original, heard = reconstruct(coder, clip, tmp_path, lambda what, done: told.append(done))
    assert np.array_equal(_wave(original), _wave(clip))
    latents = tiny.compress(clip).rounded()
    assert np.allclose(_wave(heard.audio), tiny.decompress(latents, num_steps=2, seed=3), atol=2 / 32768)
    assert np.array_equal(Latents.load(heard.kept).numpy(), latents.numpy())
    assert heard.kept.name == "a song.m2l"
    assert heard.picture.read_bytes().startswith(b"\x89PNG")
    assert "22050 Hz" in heard.facts
    assert told == sorted(told)
    assert told[-1] <= 1


def test_latents_are_decoded(tmp_path: Path, tiny: EncoderDecoder) -> None:
    latents = tiny.compress(audio_file(tmp_path / "a.wav"))
    heard = decode(Coder(codec=tiny, seed=4), latents, "<b>", tmp_path, lambda what, done: None)
    assert np.allclose(_wave(heard.audio), tiny.decompress(latents, seed=4), atol=2 / 32768)
    assert "<strong>&lt;b&gt;</strong>" in heard.facts


def test_of_two_clips_only_the_new_one_is_encoded(tmp_path: Path, tiny: EncoderDecoder) -> None:
    clips = [audio_file(tmp_path / f"{name}.wav", 1, 5000 + number) for number, name in enumerate("abc")]
    first = encode_both(tiny, (clips[0], clips[1]), {}, lambda what, done: None)
    then = encode_both(tiny, (clips[1], clips[2]), first, lambda what, done: None)
    assert [path for _, path in then] == clips[1:]
    assert then[tiny.fingerprint, clips[1]] is first[tiny.fingerprint, clips[1]]
    assert np.array_equal(then[tiny.fingerprint, clips[2]].numpy(), tiny.compress(clips[2]).numpy())


@pytest.mark.parametrize(
    ("seconds", "channels", "accepted"), [(60, 2, True), (60, 1, True), (61, 1, False), (31, 4, False), (30, 4, True)]
)
def test_the_limit_is_one_of_stereo(seconds: float, channels: int, accepted: bool) -> None:
    if accepted:
        check_length("a.wav", seconds, channels, 60)
    else:
        with pytest.raises(InputError, match=r"a\.wav: \d:\d\d long, . channels; this page takes up to 1:00 of stereo"):
            check_length("a.wav", seconds, channels, 60)


def test_clips_are_checked_before_they_are_decoded(tmp_path: Path) -> None:
    check_clip(clip := audio_file(tmp_path / "a.wav", 1, 9000), 1)
    with pytest.raises(InputError, match=r"a\.wav: 0:00 long"):
        check_clip(clip, 0.1)
    hours, num_samples = tmp_path / "hours.flac", 3 * 3600 * 1000
    write_audio(hours, [np.zeros((1, num_samples), np.float32)], 1000, 1, num_samples)
    with pytest.raises(
        InputError, match=r"hours\.flac: 3:00:00 long, 1 channels; this page takes up to 5:00 of stereo"
    ):
        check_clip(hours, 300)
    (tmp_path / "b.wav").write_bytes(b"none")
    with pytest.raises(InputError, match="not audio"):
        check_clip(tmp_path / "b.wav", 1)
