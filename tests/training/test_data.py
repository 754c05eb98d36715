"""Crops: which, of which files, in which order."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from music2latent import InputError
from music2latent.audio import write_audio
from music2latent.training.data import (
    AudioFolder,
    Crops,
    Track,
    cache_audio,
    crop_order,
    index_folder,
    parse_folder,
    read_batches,
)

from ..helpers import audio_file, sound


def _crops(data: Path, **options: object) -> Crops:
    arguments = {"seed": 0, "min_rms": 0.001} | options
    return Crops([index_folder(data, 1.0, data.parent)], 44100, 4096, **arguments)  # type: ignore[arg-type]


def test_crop_follows_from_seed_and_number(data: Path) -> None:
    crops, again = _crops(data), _crops(data)
    for number in range(8):
        crop = crops[number]
        assert crop.shape == (4096,)
        assert crop.dtype == torch.float32
        assert torch.equal(crop, again[number])
    assert not torch.equal(crops[0], crops[1])
    assert not torch.equal(crops[0], _crops(data, seed=1)[0])


def test_crop_is_what_the_file_holds(tmp_path: Path) -> None:
    ramp = np.linspace(-0.9, 0.9, 60000, dtype=np.float32)
    write_audio(tmp_path / "data" / "ramp.wav", [ramp[None]], 44100, 1, 60000)
    crop = _crops(tmp_path / "data")[0].numpy()
    start = int(np.argmin(np.abs(ramp - crop[0])))
    np.testing.assert_allclose(crop, ramp[start : start + 4096], atol=1e-4)


def test_order_is_shared_by_processes_and_goes_on() -> None:
    def numbers(first: int, batch: int, rank: int, world: int, count: int) -> list[int]:
        order = crop_order(first, batch, rank, world)
        return [next(order) for _ in range(count)]

    assert numbers(0, 4, 0, 1, 8) == list(range(8))
    assert numbers(0, 2, 0, 2, 4) == [0, 1, 4, 5]
    assert numbers(0, 2, 1, 2, 4) == [2, 3, 6, 7]
    assert numbers(8, 4, 0, 1, 4) == [8, 9, 10, 11]


def test_folders_are_mixed_by_weight(tmp_path: Path) -> None:
    for name, level in (("loud", 0.5), ("soft", 0.1)):
        write_audio(tmp_path / name / "a.wav", [np.full((1, 9000), level, np.float32)], 44100, 1, 9000)
    sources = [index_folder(tmp_path / "loud", 3.0, tmp_path), index_folder(tmp_path / "soft", 1.0, tmp_path)]
    crops = Crops(sources, 44100, 4096, seed=0, min_rms=0.001)
    loud = sum(crops[number][0].item() > 0.3 for number in range(400))
    assert loud / 400 == pytest.approx(0.75, abs=0.07)


def test_silence_is_drawn_again(tmp_path: Path) -> None:
    half = np.concatenate([np.zeros(50000), np.full(50000, 0.5)]).astype(np.float32)[None]
    write_audio(tmp_path / "data" / "a.wav", [half], 44100, 1, 100000)
    crops = _crops(tmp_path / "data")
    assert all(crops[number].square().mean().sqrt() >= 0.001 for number in range(50))
    write_audio(tmp_path / "data" / "a.wav", [0 * half], 44100, 1, 100000)
    with pytest.raises(InputError, match="200 crops in a row were silent"):
        _crops(tmp_path / "data")[0]


def test_index_is_cached_and_unreadable_files_are_listed(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "bad.wav").write_text("no audio")
    source = index_folder(data, 1.0, data.parent)
    assert len(source.tracks) == 3
    assert source.hours == pytest.approx(3 / 3600)
    assert "1 of 4 files left out" in caplog.text
    assert "bad.wav: not audio" in caplog.text
    store = next(data.parent.glob("index-*.json"))
    before = store.stat().st_mtime_ns
    assert index_folder(data, 1.0, data.parent) == source
    assert store.stat().st_mtime_ns == before
    write_audio(data / "0.flac", [sound(1, 9000)], 44100, 1, 9000)  # a changed file is looked at again
    assert index_folder(data, 1.0, data.parent).tracks[0].num_samples == 9000


def test_cached_audio(data: Path, tmp_path: Path) -> None:
    source = index_folder(data, 1.0, tmp_path)
    cached = cache_audio(source, 44100, tmp_path / "cache")
    assert {track.sample_rate for track in cached.tracks} == {44100}
    assert [track.num_samples for track in cached.tracks] == [44100] * 3
    sizes = [Path(track.path).stat().st_size for track in cached.tracks]
    assert sizes == [2 * 44100 * track.channels for track in source.tracks]
    same = [replace(one, tracks=one.tracks[:1]) for one in (source, cached)]  # 16 bits, and not resampled
    direct, mapped = (Crops([one], 44100, 4096, seed=3, min_rms=0.001) for one in same)
    assert all(torch.equal(direct[number], mapped[number]) for number in range(20))
    times = [Path(track.path).stat().st_mtime_ns for track in cached.tracks]
    assert cache_audio(source, 44100, tmp_path / "cache") == cached
    assert [Path(track.path).stat().st_mtime_ns for track in cached.tracks] == times
    slower = cache_audio(source, 22050, tmp_path / "cache")
    assert [track.num_samples for track in slower.tracks] == [22050] * 3
    write_audio(data / "0.flac", [np.zeros((1, 44100), np.float32)], 44100, 1, 44100)  # as long, other audio
    again = Crops([cache_audio(source, 44100, tmp_path / "cache")], 44100, 4096, seed=3, min_rms=0.0)
    assert any(not again[number].any() for number in range(20))


def test_refused_data(tmp_path: Path, data: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.wav").write_text("no audio")
    for folder, message in {
        "missing": "no such folder",
        "empty": "no audio files",
        "bad": "none of 1 audio files can be read; the first: .*not audio",
    }.items():
        with pytest.raises(InputError, match=message):
            index_folder(tmp_path / folder, 1.0, tmp_path)
    with pytest.raises(InputError, match=r"every file is shorter than a crop of 11.34 s; set crop_columns lower"):
        Crops([index_folder(data, 1.0, tmp_path)], 44100, 500_000, seed=0, min_rms=0.001)
    with pytest.raises(InputError, match="must be a positive number"):
        parse_folder("music=much")
    assert parse_folder("music=0.5") == (Path("music"), 0.5)
    assert parse_folder("music") == (Path("music"), 1.0)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_the_crops_in_order(data: Path, workers: int) -> None:
    crops, before = _crops(data), set(threading.enumerate())
    with closing(read_batches(crops, crop_order(5, 2, 0, 1), 2, workers)) as batches:
        for first in (5, 7, 9):
            assert torch.equal(next(batches), torch.stack([crops[first], crops[first + 1]]))
    assert set(threading.enumerate()) <= before


def test_what_reading_raises_is_raised_in_its_place(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("music2latent.training.data.REDRAWS", 3)
    crops = _crops(data, min_rms=1.0)
    with (
        closing(read_batches(crops, crop_order(0, 2, 0, 1), 2, 2)) as batches,
        pytest.raises(InputError, match=r"3 crops in a row were silent or unreadable; .*silent \(RMS below 1.0"),
    ):
        next(batches)


def _hostile(folder: Path) -> None:
    """Audio as it should not be, in every way."""
    whole = audio_file(folder / "good.wav", samples=20000).read_bytes()
    compressed = audio_file(folder / "good.flac", samples=20000).read_bytes()
    bad = {
        "empty.wav": b"",
        "text.mp3": b"no audio",
        "header.wav": whole[:44],
        "truncated.wav": whole[: len(whole) // 2],
        "truncated.flac": compressed[: len(compressed) // 2],
        "pages.ogg": audio_file(folder / "whole.ogg", samples=20000).read_bytes()[:3000],
        "noise.flac": compressed[:100] + np.random.default_rng(0).bytes(20000),
        "long.flac": compressed[:18] + b"\x0a\xc4\x42\xf0\xff\xff\xff\xff" + compressed[26:],
        "channels.wav": whole[:22] + b"\xff\xff" + whole[24:],
        "rate.wav": whole[:24] + b"\x00\x00\x00\x00" + whole[28:],
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    for name, value in (("nan", np.nan), ("infinite", np.inf)):
        samples = sound(1, 20000)[0]
        samples[5000:15000] = value
        soundfile.write(folder / f"{name}.wav", samples, 44100, "FLOAT")


def test_hostile_audio_is_left_out_or_drawn_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _hostile(tmp_path / "data")
    folder = index_folder(tmp_path / "data", 1.0, tmp_path)
    assert {Path(track.path).name for track in folder.tracks} == {
        *("good.wav", "good.flac", "whole.ogg"),
        *("nan.wav", "infinite.wav"),  # wrong inside, which is seen when it is read
    }
    assert "10 of 15 files left out" in caplog.text
    crops = Crops([folder], 44100, 4096, seed=0, min_rms=0.001)
    assert all(crops[number].isfinite().all() for number in range(60))
    assert caplog.text.count("a crop could not be read, another is drawn: ") == 2  # once a file
    cached = cache_audio(folder, 44100, tmp_path / "cache")
    assert (len(cached.tracks), len(cached.unreadable)) == (3, 12)
    assert "2 of 5 files left out" in caplog.text


def test_a_folder_of_damaged_files_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.full(20000, np.nan), 44100, "FLOAT")
    folder = AudioFolder(
        folder="data",
        weight=1.0,
        tracks=(Track(path=str(tmp_path / "nan.wav"), sample_rate=44100, channels=1, num_samples=20000),),
        unreadable=(),
    )
    with pytest.raises(InputError, match=r"none of its files can be read to its end; the first: .*nan.wav"):
        cache_audio(folder, 44100, tmp_path / "cache")
    with pytest.raises(InputError, match=r"200 crops in a row were silent or unreadable; check the data. The last: .*"):
        Crops([folder], 44100, 4096, seed=0, min_rms=0.001)[0]


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", 5000 * b"[", b'{"a": 1}', b'{"a": [1, 2]}', b'{"a": ["1", 2, 3]}'),
        *(b'{"a": [0, 1, 2]}', b'{"a": [-1, 1, 2]}', b'{"a": [1, 1, 1e3]}', b'{"a": [1, 1, 99999999999999999999]}'),
    ],
)
def test_a_broken_index_is_refused_and_kept(data: Path, tmp_path: Path, content: bytes) -> None:
    index_folder(data, 1.0, tmp_path)
    store = next(tmp_path.glob("index-*.json"))
    store.write_bytes(content)
    with pytest.raises(InputError, match=r"index-\w+.json: not an index of audio files \(.*\); delete it") as refused:
        index_folder(data, 1.0, tmp_path)
    assert "\n" not in str(refused.value)
    assert store.read_bytes() == content
