"""Which files are coded, and what of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from music2latent.audio import open_audio, write_audio
from music2latent.errors import InputError
from music2latent.evaluation.pieces import choose

from ..helpers import CLIP, sound


def test_pieces_come_from_the_middle_and_evenly(tmp_path: Path) -> None:
    for name in "abcde":
        shutil.copy(CLIP, tmp_path / f"{name}.ogg")
    pieces = choose([tmp_path], limit=3, seconds=2.0)
    assert [Path(piece.path).stem for piece in pieces] == ["a", "c", "e"]
    source = open_audio(CLIP)
    assert pieces[0].start == (source.num_samples - 2 * source.sample_rate) // 2
    assert pieces[0].read().shape == (source.channels, 2 * source.sample_rate)
    with pytest.raises(InputError, match=r"no audio of 1000 s and"):
        choose([tmp_path], min_seconds=1000)
    write_audio(tmp_path / "short" / "f.wav", [sound(1, 4096)], 44100, 1, 4096)
    with pytest.raises(InputError, match=r"no audio of 0 s and 4097 samples or more"):
        choose([tmp_path / "short"])


def test_a_damaged_file_of_a_folder_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = CLIP.read_bytes()
    (tmp_path / "a.ogg").write_bytes(whole)
    write_audio(tmp_path / "b.wav", [sound(1, 9000)], 44100, 1, 9000)
    (tmp_path / "c.flac").write_bytes(b"")
    damaged = bytearray(whole)
    damaged[len(damaged) // 2 : len(damaged) // 2 + 4096] = bytes(4096)  # pages lost, the length still there
    (tmp_path / "d.ogg").write_bytes(damaged)
    pieces = choose([tmp_path])
    assert [Path(piece.path).name for piece in pieces] == ["a.ogg", "b.wav"]
    assert "c.flac: an empty file" in caplog.text
    assert "d.ogg: truncated, ends before sample" in caplog.text
    with pytest.raises(InputError, match=r"c\.flac: an empty file"):  # named, it is an error
        choose([tmp_path / "c.flac"])
