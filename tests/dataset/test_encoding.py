from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from music2latent import InputError, Latents
from music2latent.dataset.description import FAILURES
from music2latent.dataset.formats import FORMATS

from ..helpers import disk_with, posix
from .inline import Inline, Killed, least, made, problems, sounds, tree, values_of


def test_items_are_what_compress_gives(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [3000, 100_000, 1, 20_000], channels=2)
    made([folder], tmp_path / "set")
    found = values_of(tmp_path / "set")
    assert len(found) == 4
    for path in folder.iterdir():
        expected = least().compress(path).values.numpy()
        assert np.abs(found[f"{path} 0.000"].astype(np.float32) - expected).max() < 2e-3 * np.abs(expected).max()


def test_the_same_again_does_nothing(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [3000] * 5)
    made([folder], tmp_path / "set")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "set").glob("*.tar")}
    assert len(before) > 1
    made([folder], tmp_path / "set", engine := Inline())
    assert engine.made == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "set").glob("*.tar")} == before


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lengths=st.lists(st.integers(1, 30_000), min_size=1, max_size=6), kills=st.lists(st.integers(1, 8), max_size=3))
def test_after_any_interruption_shards_are_those_of_a_straight_run(
    tmp_path: Path, lengths: list[int], kills: list[int]
) -> None:
    shutil.rmtree(tmp_path)
    folder = sounds(tmp_path / "audio", lengths)
    made([folder], tmp_path / "straight")
    for number in kills:
        try:
            made([folder], tmp_path / "broken", Inline(kill_after=number))
        except Killed:
            assert problems(tmp_path / "broken")
    made([folder], tmp_path / "broken")
    assert tree(tmp_path / "broken") == tree(tmp_path / "straight")
    assert problems(tmp_path / "broken", inputs=[str(folder)]) == []


def test_new_changed_and_lost_inputs(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [4000, 5000, 6000, 7000])
    made([folder], tmp_path / "set")
    shards = {name: content for name, content in tree(tmp_path / "set").items() if name.endswith(".tar")}
    assert len(shards) == 4
    sounds(folder / "more", [800])  # between the others
    (folder / "001.wav").write_bytes((folder / "003.wav").read_bytes())
    (folder / "002.wav").unlink()
    description = made([folder], tmp_path / "set", engine := Inline())
    assert engine.made == 2  # one new, one changed
    now = {name: content for name, content in tree(tmp_path / "set").items() if name.endswith(".tar")}
    assert {name for name in shards if shards[name] != now[name]} == {"latents-000001.tar"}
    assert description["counts"]["items"] == 5  # what is gone from the inputs stays
    assert problems(tmp_path / "set") == []
    found = values_of(tmp_path / "set")
    assert np.array_equal(found[f"{folder}/001.wav 0.000"], found[f"{folder}/003.wav 0.000"])


def test_bad_inputs_are_listed_with_their_reasons(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [4000])
    good = (folder / "000.wav").read_bytes()
    (folder / "empty.wav").touch()
    (folder / "text.flac").write_text("no audio")
    (folder / "short.wav").write_bytes(good[:-100])
    (folder / "silent.wav").write_bytes(good[:40] + bytes(4))
    os.link(folder / "000.wav", os.fsencode(folder) + b"/\xff.wav")
    os.link(folder / "000.wav", folder / f"{'n' * 220}.wav")
    description = made([folder], tmp_path / "set")
    assert description["counts"]["inputs"] == 7
    assert description["counts"]["items"] == 1
    lines = [json.loads(line) for line in (tmp_path / "set" / FAILURES).read_text().splitlines()]
    reasons = {line["source"].rpartition("/")[2]: line["reason"] for line in lines}
    expected = {"empty.wav": "an empty file", "short.wav": "truncated", "\udcff.wav": "not UTF-8; rename it"}
    for name, reason in (expected | {f"{'n' * 220}.wav": "longer than 200 bytes"}).items():
        assert reason in reasons[name]
    assert set(reasons) == {path.name for path in folder.iterdir()} - {"000.wav"}
    assert problems(tmp_path / "set", inputs=[str(folder)]) == []
    made([folder], tmp_path / "set", engine := Inline())
    assert engine.made == 0


def test_names_that_only_suffixes_tell_apart(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [3000])
    for name in ("000.flac", "000.aiff", "0.0.0.wav", "0_0_0.wav"):
        shutil.copy(folder / "000.wav", folder / name)
    for format in FORMATS:
        made([folder], tmp_path / format, format=format)
        assert problems(tmp_path / format) == []
        assert len(values_of(tmp_path / format)) == 5


@pytest.mark.parametrize("format", FORMATS)
def test_formats_hold_the_same(tmp_path: Path, format: str) -> None:
    folder = sounds(tmp_path / "audio", [30_000, 5000], channels=2)
    made([folder], tmp_path / "base", format="webdataset" if format != "stable-audio-tools" else format)
    made([folder], tmp_path / "set", format=format)
    expected, found = values_of(tmp_path / "base"), values_of(tmp_path / "set")
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key], expected[key]) for key in found)


def test_int8_is_half_the_size_and_nearly_the_same(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [400_000])
    made([folder], tmp_path / "float")
    description = made([folder], tmp_path / "int8", int8=True)
    (whole,), (bits,) = values_of(tmp_path / "float").values(), values_of(tmp_path / "int8").values()
    assert (str(whole.dtype), str(bits.dtype)) == ("float16", "int8")
    step = 1 / (127 * description["model"]["latent_scale"])
    assert np.abs(bits * np.float32(step) - whole.astype(np.float32)).max() < 0.51 * step + 1e-2
    assert problems(tmp_path / "int8") == []


def test_features(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [30_000])
    made([folder], tmp_path / "set", features=True)
    (found,) = values_of(tmp_path / "set").values()
    expected = least().compress(folder / "000.wav", features=True).features
    assert expected is not None
    assert found.shape == tuple(expected.shape)
    assert np.abs(found.astype(np.float32) - expected.numpy()).max() < 2e-3 * expected.abs().max()
    assert problems(tmp_path / "set") == []


def test_pieces_are_equally_long_and_lose_nothing(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [100_000, 900])
    made([folder], tmp_path / "set", crop_seconds=1.0, format="m2l")
    pieces = [Latents.load(path) for path in sorted((tmp_path / "set").glob("000*.m2l"))]
    assert len(pieces) == 3
    assert sum(piece.num_samples for piece in pieces) == 100_000
    assert max(piece.num_samples for piece in pieces) - min(piece.num_samples for piece in pieces) <= least().frame_size
    whole = least().compress(folder / "000.wav").rounded().values
    joined = Latents.concatenate(pieces)
    assert (joined.values - whole).abs().max() < 2e-3 * whole.abs().max()
    made([folder], tmp_path / "sat", crop_seconds=0.5, format="stable-audio-tools")
    arrays = [np.load(path) for path in (tmp_path / "sat").rglob("*.npy")]
    assert len({array.shape for array in arrays}) == 1
    facts = [json.loads(path.read_text()) for path in (tmp_path / "sat").glob("0*.json")]
    assert all(len(fact["padding_mask"]) == arrays[0].shape[-1] for fact in facts)
    assert sum(sum(fact["padding_mask"]) for fact in facts) == sum(
        -(-samples // least().frame_size) for samples in (100_000, 900)
    )


def test_equal_content_once(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [4000, 5000])
    shutil.copy(folder / "000.wav", folder / "copy.wav")
    description = made([folder], tmp_path / "set", unique=True)
    assert (description["counts"]["items"], description["counts"]["copies"]) == (2, 1)
    assert problems(tmp_path / "set", inputs=[str(folder)]) == []
    shutil.copy(folder / "001.wav", folder / "000.wav")  # now the copy is the only one of its content
    description = made([folder], tmp_path / "set", unique=True)
    assert (description["counts"]["items"], description["counts"]["copies"]) == (2, 1)
    assert f"{folder}/copy.wav 0.000" in values_of(tmp_path / "set")
    assert problems(tmp_path / "set", inputs=[str(folder)]) == []


def test_failures_are_tried_again_if_asked(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [4000])
    (folder / "manifest.csv").write_text("path\n000.wav\nlate.wav\n")
    made([folder / "manifest.csv"], tmp_path / "set")
    made([folder / "manifest.csv"], tmp_path / "set", engine := Inline())
    assert engine.made == 0
    made([folder / "manifest.csv"], tmp_path / "set", engine, retry_failures=True)
    assert engine.made == 1
    (folder / "late.wav").write_bytes((folder / "000.wav").read_bytes())
    description = made([folder / "manifest.csv"], tmp_path / "set")
    assert (description["counts"]["items"], description["counts"]["failures"]) == (2, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "zip"}, "accepted: webdataset, parquet, m2l, stable-audio-tools"),
        ({"int8": True, "features": True}, "not written in 8 bits"),
        ({"int8": True, "format": "m2l"}, r"\.m2l files hold float16"),
        ({"features": True, "format": "m2l"}, "take them as webdataset"),
        ({"coding_rate": 12345}, "coding_rate = 12345"),
        ({"crop_seconds": 0.0}, "crop_seconds = 0"),
        ({"shard_size": float("nan")}, "shard_size = nan"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"part": (3, 2)}, "part 3/2"),
        ({"inputs": ["nowhere"]}, "nowhere: no such file"),
        ({"inputs": ["."]}, "nothing to encode"),
        ({"output": "what://x"}, "what"),
    ],
)
def test_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    call = {"inputs": ["."], "output": "set"} | arguments
    with pytest.raises(InputError, match=message):
        made(call.pop("inputs"), call.pop("output"), **call)


def test_another_output_is_left_alone(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [4000])
    before = tree(folder)
    with pytest.raises(InputError, match="is no data set; choose an empty folder"):
        made([folder], folder)
    assert tree(folder) == before
    made([folder], tmp_path / "set")
    before = tree(tmp_path / "set")
    with pytest.raises(InputError, match="made with format webdataset .now parquet."):
        made([folder], tmp_path / "set", format="parquet")
    description = json.loads((tmp_path / "set/dataset.json").read_text())
    for change, message in (
        ({"model": description["model"] | {"fingerprint": "other"}}, "made with the model 'least'"),
        ({"format_version": 2}, "a data set of version 2"),
    ):
        (tmp_path / "set/dataset.json").write_text(json.dumps(description | change))
        with pytest.raises(InputError, match=message):
            made([folder], tmp_path / "set")
    (tmp_path / "set/dataset.json").write_bytes(before["dataset.json"])
    assert tree(tmp_path / "set") == before


def test_two_jobs_at_one_output(tmp_path: Path) -> None:
    from music2latent.dataset.encoding import LOCK
    from music2latent.dataset.storage import Storage

    folder = sounds(tmp_path / "audio", [4000])
    with Storage(tmp_path / "set").claimed(LOCK), pytest.raises(InputError, match="another job writes there"):
        made([folder], tmp_path / "set")
    made([folder], tmp_path / "set")


@posix
def test_a_full_disk_leaves_whole_shards_alone(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [4000, 400_000])
    with disk_with(40_000), pytest.raises(InputError, match="cannot be written|No space|too large"):
        made([folder], tmp_path / "set")
    assert [path.name for path in (tmp_path / "set").glob("*.tar")] == ["latents-000000.tar"]
    made([folder], tmp_path / "set")
    assert problems(tmp_path / "set") == []
