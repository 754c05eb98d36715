from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from music2latent import InputError
from music2latent.dataset.formats import FORMATS
from music2latent.dataset.verification import verify

from .inline import Inline, Killed, made, problems, sounds, tree


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("verify")
    sounds(folder / "audio", [3000, 4000, 5000, 6000])
    (folder / "audio/bad.wav").write_text("bad")
    made([folder / "audio"], folder / "set")
    assert problems(folder / "set") == []
    return tree(folder / "set")


def _first(root: Path, pattern: str) -> Path:
    return sorted(root.glob(pattern))[0]


def _edit(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a shard is missing": (lambda root: _first(root, "*.tar").unlink(), "missing"),
    "a record is missing": (lambda root: _first(root, ".dataset/shards/*").unlink(), "shard 0: missing"),
    "a plan is missing": (lambda root: _first(root, ".dataset/plan/*").unlink(), "shard 0: has no plan"),
    "a bit of a shard": (lambda root: _flip(_first(root, "*.tar"), 700), "not what was written"),
    "a shard's end": (lambda root: _first(root, "*.tar").write_bytes(b"x"), "1 bytes, not"),
    "a shard of nobody": (lambda root: (root / "latents-000099.tar").touch(), "in no shard's record"),
    "a line of the plan": (
        lambda root: (one := _first(root, ".dataset/plan/*")).write_bytes(one.read_bytes() * 2),
        "in an earlier one",
    ),
    "an input less in the plan": (lambda root: _first(root, ".dataset/plan/*").write_bytes(b""), "has not"),
    "a fate": (
        lambda root: _edit(_first(root, ".dataset/shards/*"), lambda one: one.update(items=[])),
        "lost in shard",
    ),
    "an item's name": (
        lambda root: _edit(_first(root, ".dataset/shards/*"), lambda one: one["items"][0].update(key="x")),  # type: ignore[index]
        "not what the record",
    ),
    "statistics": (
        lambda root: _edit(_first(root, ".dataset/shards/*"), lambda one: one["statistics"].update(count=1)),  # type: ignore[attr-defined]
        "other statistics",
    ),
    "a record of nonsense": (lambda root: _first(root, ".dataset/shards/*").write_text("[]"), "damaged"),
    "failures": (lambda root: (root / "failures.jsonl").write_text(""), "not the failures"),
    "counts": (lambda root: _edit(root / "dataset.json", lambda one: one.update(hours=1)), "its hours are not the sum"),
    "an unfinished run": (lambda root: _edit(root / "dataset.json", lambda one: one.update(complete=False)), "its end"),
    "a run that was killed": (
        lambda root: shutil.copytree(root / ".dataset/plan", root / ".dataset/partial"),
        "half-written",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_seen(whole: dict[str, bytes], tmp_path: Path, name: str) -> None:
    for path, content in whole.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert problems(tmp_path) == []
    damage, message = DAMAGES[name]
    damage(tmp_path)
    assert any(message in problem for problem in problems(tmp_path)), problems(tmp_path)


def test_every_byte_of_a_shard_counts(whole: dict[str, bytes], tmp_path: Path) -> None:
    for path, content in whole.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    tar = _first(tmp_path, "*.tar")
    for place in range(0, tar.stat().st_size, 997):
        _flip(tar, place)
        assert problems(tmp_path)
        _flip(tar, place)
    assert problems(tmp_path, quick=True) == []


@pytest.mark.parametrize("format", FORMATS)
def test_a_run_that_was_cut_off_is_not_whole(tmp_path: Path, format: str) -> None:
    folder = sounds(tmp_path / "audio", [3000] * 3)
    with pytest.raises(Killed):
        made([folder], tmp_path / "set", Inline(kill_after=3), format=format)
    assert problems(tmp_path / "set")
    made([folder], tmp_path / "set", format=format)
    assert problems(tmp_path / "set") == []


def test_inputs_that_came_later_are_missed(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [3000, 3000])
    made([folder], tmp_path / "set")
    sounds(folder, [3000, 4000, 5000])
    found = problems(tmp_path / "set", inputs=[str(folder)])
    assert [problem.rpartition(": ")[2] for problem in found] == [
        "changed since",
        "changed since",
        "not in the data set",
    ]


def test_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no data set"):
        list(verify(tmp_path))
