from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from music2latent import InputError, audio

from .helpers import disk_with, sound

RATE = 48000


def _write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    audio.write_audio(path, [samples], rate, *samples.shape)
    return path


def _read(path: Path) -> np.ndarray:
    return np.concatenate(list(audio.open_audio(path).blocks()), axis=1)


@pytest.mark.parametrize("suffix", audio.WRITTEN)
def test_every_format_keeps_length_rate_and_channels(tmp_path: Path, suffix: str) -> None:
    samples = sound(2, 30001)
    path = _write(tmp_path / f"a{suffix}", samples)
    source = audio.open_audio(path)
    assert (source.sample_rate, source.channels, source.num_samples) == (RATE, 2, 30001)
    back = _read(path)
    assert back.shape == samples.shape
    error = np.linalg.norm(back - samples) / np.linalg.norm(samples)
    assert error < (0.3 if suffix in (".ogg", ".oga", ".opus", ".mp3") else 1e-3)
    assert os.listdir(tmp_path) == [path.name]


def test_blocks_are_small(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.flac", np.zeros((1, 3 * audio.BLOCK_SAMPLES + 7), np.float32))
    assert [block.shape[1] for block in audio.open_audio(path).blocks()] == [audio.BLOCK_SAMPLES] * 3 + [7]


def test_missing_folder_empty_and_text(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("once upon a time " * 100)
    soundfile.write(tmp_path / "silent.wav", np.zeros((0, 1)), RATE)
    for name, message in {
        "missing.wav": "no such file",
        "": "a folder, expected an audio file",
        "empty.wav": r"an empty file \(0 bytes\)",
        "text.wav": "not audio that can be read .* wav, flac",
        "silent.wav": "without samples",
    }.items():
        with pytest.raises(InputError, match=message):
            audio.open_audio(tmp_path / name)


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".opus", ".mp3", ".wav", ".aiff"])
@pytest.mark.parametrize("cut", ["half", "last byte"])
def test_truncated(tmp_path: Path, suffix: str, cut: str) -> None:
    path = _write(tmp_path / f"a{suffix}", sound(1, 3 * RATE))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2] if cut == "half" else content[:-1])
    with pytest.raises(InputError, match=r"truncated|damaged|not audio"):
        _read(path)


def test_wav_from_a_pipe_is_whole(tmp_path: Path) -> None:
    """Programs that write to a pipe cannot know the size, and leave the largest there is."""
    path = _write(tmp_path / "a.wav", sound(1, 1000))
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert _read(path).shape == (1, 1000)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite(tmp_path: Path, value: float) -> None:
    samples = np.zeros((audio.BLOCK_SAMPLES + 100, 2), np.float32)
    samples[audio.BLOCK_SAMPLES + 7, 1] = value
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(InputError, match=f"NaN or infinite at sample {audio.BLOCK_SAMPLES + 7}"):
        _read(tmp_path / "a.wav")


@pytest.mark.parametrize(
    ("name", "rate", "channels", "message"),
    [
        ("a.xyz", 44100, 1, "cannot write .xyz; accepted: .wav .flac"),
        ("a", 44100, 1, "a file without suffix"),
        ("a.opus", 44100, 1, r"cannot hold 44100 Hz \(accepted: 8000, .*use .flac or .wav"),
        ("a.mp3", 96000, 1, "cannot hold 96000 Hz"),
        ("a.mp3", 44100, 3, "cannot hold 3 channels"),
        ("a.flac", 44100, 9, "cannot hold 9 channels"),
        ("a.ogg", 44100, 256, r"cannot hold 256 channels \(at most 255\)"),
        ("a.wav", 44100, 1025, "cannot hold 1025 channels"),
        ("a.ogg", 200_001, 1, r"cannot hold 200001 Hz \(at most 200000\)"),
        ("a.flac", 768_000, 1, "cannot hold 768000 Hz"),
        ("a.flac", 96_001, 1, "cannot hold 96001 Hz"),
        ("a.wav", 999, 1, "sample_rate = 999; accepted: whole numbers from 1000 to 768000"),
        ("a.m4a", 44100, 1, "cannot write .m4a"),
    ],
)
def test_what_a_format_cannot_hold(tmp_path: Path, name: str, rate: int, channels: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _write(tmp_path / name, np.zeros((channels, 100), np.float32), rate)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".opus"])
def test_full_disk_leaves_nothing_and_keeps_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = _write(tmp_path / f"a{suffix}", sound(1, 1000))
    before = path.read_bytes()
    with disk_with(10_000), pytest.raises(InputError, match=r"cannot be written .*; nothing was left there"):
        _write(path, np.random.default_rng(0).uniform(-1, 1, (1, 10 * RATE)).astype(np.float32))
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == before


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        _write(tmp_path / "file" / "a.wav", sound(1, 100))


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def blocks() -> Iterator[np.ndarray]:
        yield sound(1, 100)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audio.write_audio(tmp_path / "a.wav", blocks(), RATE, 1, 200)
    assert not os.listdir(tmp_path)


def test_where_a_sample_rate_belongs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pass the rate"):
        audio.open_source(np.zeros(100), None)
    with pytest.raises(InputError, match="a file knows its own rate"):
        audio.open_source(str(tmp_path / "a.wav"), 44100)
    with pytest.raises(InputError, match=r"expected \[n\] or \[C, n\]"):
        audio.open_source(np.zeros((2, 2, 100)), 44100)


@pytest.mark.parametrize("suffix", audio.WRITTEN)
def test_every_subtype_of_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    for subtype in audio.subtypes(path):
        audio.write_audio(path, [sound(2, 5000)], RATE, 2, 5000, subtype=subtype)
        assert (audio.open_audio(path).subtype, audio.open_audio(path).num_samples) == (subtype, 5000)
    with pytest.raises(InputError, match=f"{suffix} cannot hold PCM_7; accepted: {', '.join(audio.subtypes(path))}"):
        audio.write_audio(path, [], RATE, 2, 0, subtype="PCM_7")


@pytest.mark.parametrize(
    ("subtype", "name", "expected"),
    [
        ("PCM_24", "a.wav", "PCM_24"),
        ("PCM_24", "a.flac", "PCM_24"),
        ("PCM_24", "a.mp3", "MPEG_LAYER_III"),
        ("PCM_32", "a.aiff", "PCM_32"),
        ("PCM_32", "a.flac", "PCM_24"),
        ("FLOAT", "a.wav", "FLOAT"),
        ("DOUBLE", "a.w64", "FLOAT"),
        ("FLOAT", "a.flac", "PCM_24"),
        ("FLOAT", "a.ogg", "VORBIS"),
        ("ALAC_24", "a.caf", "PCM_24"),
        ("ALAC_20", "a.wav", "PCM_24"),
        ("PCM_U8", "a.wav", "PCM_16"),
        ("VORBIS", "a.wav", "PCM_16"),
        ("G721_32", "a.wav", "PCM_16"),
    ],
)
def test_the_depth_of_a_source_is_kept_where_it_can_be(subtype: str, name: str, expected: str) -> None:
    assert audio.subtype_like(name, subtype) == expected


def test_sizes_beyond_32_bits(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.aiff cannot hold more than 4000000000 bytes; use \.wav or \.caf"):
        audio.write_audio(tmp_path / "a.aiff", [], RATE, 2, 10**9 + 1)
    with pytest.raises(InputError, match="not all samples"):
        audio.write_audio(tmp_path / "a.au", [], RATE, 2, 10**9 - 1)


@pytest.mark.parametrize("rate", [1, 999, 2**31 - 1])
def test_declared_rates_out_of_range(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(1000), rate)
    with pytest.raises(InputError, match=f"a.wav: sample_rate = {rate}; accepted: whole numbers from 1000 to 768000"):
        audio.open_audio(tmp_path / "a.wav")


def test_a_float_file_in_the_range_of_integers(tmp_path: Path) -> None:
    samples = np.zeros(audio.BLOCK_SAMPLES + 10, np.float32)
    samples[audio.BLOCK_SAMPLES + 3] = -20000
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    message = f"a.wav: -20000 at sample {audio.BLOCK_SAMPLES + 3}; .* divide .* by 32768"
    with pytest.raises(InputError, match=message):
        _read(tmp_path / "a.wav")
    with pytest.raises(InputError, match=message):
        audio.read_part(tmp_path / "a.wav", audio.BLOCK_SAMPLES, 10)


def test_blocks_of_many_channels_are_small_too(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((5000, 1000), np.int16), RATE)
    assert {block.size for block in audio.open_audio(tmp_path / "a.wav").blocks()} == {1_048_000, 808_000}


def test_a_source_is_one_already(tmp_path: Path) -> None:
    source = audio.open_audio(_write(tmp_path / "a.wav", sound(1, 100)))
    assert audio.open_source(source, None) is source
