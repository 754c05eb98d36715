from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from music2latent import EncoderDecoder, InputError
from music2latent.dataset.collection import Collection
from music2latent.dataset.storage import Storage

from ..helpers import reference_checkpoint

Build = Callable[..., Path]


@pytest.fixture
def copy(build: Build, tmp_path: Path) -> Callable[..., Path]:
    """A data set that a test may damage."""
    return lambda *arguments: shutil.copytree(build(*arguments), tmp_path / "copy")


def test_all_formats_give_what_the_codec_gives(stored: Path, songs: Path, least: EncoderDecoder) -> None:
    collection = Collection(stored)
    assert len(collection) == 7
    assert len(collection.shards) > 3
    for index in range(7):
        item = collection.read(index)
        latents = least.compress(songs / f"{item.key}.flac").rounded()
        assert item.facts["num_samples"] == latents.num_samples
        if item.facts["lead"] == item.facts["edge"]:
            assert np.allclose(item.floats, latents.numpy(), atol=0.02)
        assert item.facts["metadata"] == {"caption": f"song {index}", "tempo": str(100 + index)}
        assert item.facts["seconds_total"] == pytest.approx(latents.duration)


def test_by_number_and_by_shard_are_the_same(stored: Path) -> None:
    collection = Collection(stored)
    for shard in collection.shards:
        numbers = range(shard.start, shard.stop)
        for wanted in (numbers, numbers[1:], numbers[:-1], range(0)):
            found = list(collection.read_all(shard, wanted))
            assert [number for number, _ in found] == list(wanted)
            for number, item in found:
                one = collection.read(number)
                assert (one.key, one.facts) == (item.key, item.facts)
                assert np.array_equal(one.values, item.values)


def test_pieces_know_the_length_of_the_whole(build: Build) -> None:
    collection = Collection(build("parquet", crop_seconds=0.004))
    pieces: dict[str, list[dict[str, Any]]] = {}
    for index in range(len(collection)):
        facts = collection.read(index).facts
        pieces.setdefault(facts["source"], []).append(facts)
    assert len(pieces) == 7 < len(collection)
    for own in pieces.values():
        assert {facts["seconds_total"] for facts in own} == {own[-1]["seconds_start"] + own[-1]["duration"]}
        assert sum(facts["duration"] for facts in own) == pytest.approx(own[0]["seconds_total"])


def test_several_of_any_format_and_a_url(build: Build) -> None:
    both = Collection([build("webdataset"), str(build("parquet"))])
    assert [both.read(index).key for index in range(14)] == [f"deep/{number}" for number in range(7)] * 2
    assert both.sums is not None
    one = Collection(build("webdataset")).sums
    assert one is not None
    assert (both.sums.mean, both.sums.count) == (one.mean, 2 * one.count)
    fs = Storage("memory://reading")._fs
    fs.put(str(build("webdataset")), "/reading", recursive=True)
    try:
        assert np.array_equal(Collection("memory://reading").read(5).values, both.read(5).values)
    finally:
        fs.rm("/reading", recursive=True)


def test_files_alone(songs: Path, least: EncoderDecoder, tmp_path: Path) -> None:
    for number in (0, 5):
        (tmp_path / "deep").mkdir(exist_ok=True)
        least.compress(songs / "deep" / f"{number}.flac").save(tmp_path / "deep" / f"{number}.m2l")
    collection = Collection(tmp_path)
    assert collection.sums is None
    item = collection.read(1)
    assert (item.key, item.facts["seconds_total"], item.prompt) == ("deep/5", 0.078125, "")
    assert np.array_equal(item.floats, least.compress(songs / "deep" / "5.flac").rounded().numpy())
    other = EncoderDecoder(model=reference_checkpoint("tiny"), device="cpu", dtype="float32")
    other.compress(songs / "deep" / "0.flac").save(tmp_path / "other.m2l")
    with pytest.raises(InputError, match="other: latents of another model"):
        [Collection(tmp_path).read(index) for index in range(3)]


def test_connections_do_not_go_along_to_a_forked_process(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Collection(build())
    before = collection._storages
    collection.read(0)
    assert collection._storages is before
    monkeypatch.setattr(os, "getpid", lambda: -1)
    collection.read(0)
    assert collection._storages is not before


@pytest.mark.parametrize("format", ["webdataset", "parquet"])
def test_a_cut_connection_is_taken_up_again(format: str, build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    collection = Collection(build(format, shard_size=1))
    (shard,) = collection.shards
    expected = list(collection.read_all(shard, range(7)))
    opened: list[str] = []

    def cut(storage: Storage, name: str) -> Any:
        opened.append(name)
        file = storage.local_path(name).open("rb")
        return _Cut(file, 1500 * len(opened)) if len(opened) < 3 else file

    monkeypatch.setattr(Storage, "open", cut)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    again = Collection(build(format, shard_size=1))
    found = list(again.read_all(again.shards[0], range(7)))
    assert len(opened) == 3
    assert [item.key for _, item in found] == [item.key for _, item in expected]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "dataset.json").unlink(), "no data set of latents (dataset.json), and no .m2l files"),
        (lambda path: shutil.rmtree(path), "no data set of latents (dataset.json), and no .m2l files"),
        (lambda path: (path / "dataset.json").write_text("{"), "damaged, no JSON"),
        (lambda path: _edit(path / "dataset.json", format_version=99), "a data set of version 99"),
        (lambda path: _edit(path / "dataset.json", settings={}), "damaged; its model or settings lack 'format'"),
        (lambda path: shutil.rmtree(path / ".dataset"), "a data set without items; failures.jsonl there may say why"),
        (lambda path: (path / ".dataset/shards/000001.json").write_text("[]"), "not the record of a shard"),
        (lambda path: (path / ".dataset/shards/000001.json").write_text(""), "damaged, no JSON"),
        (lambda path: _edit(path / ".dataset/shards/000001.json", items=[{"key": "a"}]), "not the record of a shard"),
        (lambda path: _edit(path / ".dataset/shards/000001.json", statistics={}), "not the record of a shard"),
    ],
)
def test_no_data_set_is_refused(copy: Build, damage: Any, message: str) -> None:
    damage(path := copy())
    with pytest.raises(InputError) as error:
        Collection(path)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_parts_and_other_models_are_refused(build: Build, copy: Build, songs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data set named"):
        Collection([])
    (tmp_path / "whole").mkdir()
    shutil.copytree(build("m2l"), tmp_path / "whole" / "part-00001-of-00002")
    with pytest.raises(InputError, match="part-00001-of-00002 in it is one; name the data sets themselves, or join"):
        Collection(tmp_path / "whole")
    path = copy()
    found = json.loads((path / "dataset.json").read_text())
    _edit(path / "dataset.json", model=found["model"] | {"fingerprint": "ab" * 32})
    with pytest.raises(InputError, match="latents of the model 'least' .abababababab., beside those of 'least'"):
        Collection([build(), path])
    _edit(path / "dataset.json", model=found["model"], settings=found["settings"] | {"features": True})
    with pytest.raises(InputError, match="features beside latents"):
        Collection([build(), path])


def test_a_set_that_is_being_made_can_be_read(copy: Build, caplog: pytest.LogCaptureFixture) -> None:
    path = copy()
    _edit(path / "dataset.json", complete=True)
    assert len(Collection(path)) == 7
    assert not caplog.text
    _edit(path / "dataset.json", complete=False)
    (path / ".dataset/shards/000000.json").unlink()
    assert len(Collection(path)) < 7
    assert "encoding has not come to its end; what is not there yet is left out" in caplog.text


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_missing_and_damaged_files_are_named(stored: Path, tmp_path: Path, how: str) -> None:
    path = shutil.copytree(stored, tmp_path / "copy")
    collection = Collection(path)
    (shard, *_) = collection.shards
    for file in path.rglob("*"):
        if file.suffix in (".tar", ".parquet", ".m2l", ".npy"):
            content = file.read_bytes()
            file.unlink() if how == "missing" else file.write_bytes(content[: len(content) // 20])
    for read in (lambda: collection.read(0), lambda: list(collection.read_all(shard, [0]))):
        with pytest.raises(
            InputError, match=r"(0\.(m2l|npy)|latents-000000\.\w+).*(missing|damaged|truncated)"
        ) as error:
            read()
        assert "\n" not in str(error.value)


def test_a_set_that_was_made_anew_is_noticed(copy: Build) -> None:
    path = copy("stable-audio-tools")
    collection = Collection(path)
    _edit(path / "deep" / "0.json", key="other")
    with pytest.raises(InputError, match="has 'other' where 'deep/0' was; open the data set again"):
        collection.read(0)


class _Cut:
    """A file that cannot be read beyond some bytes."""

    def __init__(self, file: Any, most: int) -> None:
        self._file, self._most = file, most

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        if self._file.tell() + max(size, 0) > self._most:
            raise ConnectionError("cut")
        return self._file.read(size)
