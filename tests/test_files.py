"""Files: written whole or not at all, never overwritten unasked, found in order and as one goes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from music2latent import InputError
from music2latent.files import check_free, check_suffix, replacing, stored_bits, walk

from .helpers import posix


def _tree(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


@posix
def test_walk_finds_what_a_sorted_list_would_hold(tmp_path: Path) -> None:
    _tree(tmp_path, "b.wav", "a/z.WAV", "a/b/c.flac", "a.wav", "a/notes.txt", ".hidden.wav", ".git/x.wav", "a-b/d.wav")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "linked.wav").symlink_to(tmp_path / "a.wav")
    found = list(walk(tmp_path, {".wav", ".flac"}))
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        *("a/b/c.flac", "a/z.WAV", "a-b/d.wav", "a.wav", "b.wav", "linked.wav"),
    ]
    assert found == sorted(found)


def test_walk_yields_before_it_has_seen_everything(tmp_path: Path) -> None:
    _tree(tmp_path, "a/1.wav", "b/1.wav")
    going = walk(tmp_path, {".wav"})
    assert next(going).parent.name == "a"
    _tree(tmp_path, "b/2.wav")
    assert [path.name for path in going] == ["1.wav", "2.wav"]


def test_replaced_at_once_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    with replacing(target) as partial:
        partial.write_text("one")
        assert not target.exists()
        assert partial.suffix == ".txt"
    assert target.read_text() == "one"
    with pytest.raises(KeyboardInterrupt), replacing(target) as partial:
        partial.write_text("two")
        raise KeyboardInterrupt
    assert target.read_text() == "one"
    assert os.listdir(target.parent) == ["a.txt"]
    with pytest.raises(InputError, match="cannot be written"), replacing(target / "b.txt"):
        pass


@pytest.mark.parametrize("links", [True, False])
def test_of_two_jobs_to_one_name_the_second_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    target = tmp_path / "a.txt"
    with (
        pytest.raises(
            InputError, match=r"written by another program meanwhile, .*; see a\.[0-9a-f]{8}\.txt"
        ) as refused,
        replacing(target, overwrite=False) as late,
    ):
        with replacing(target, overwrite=False) as early:
            early.write_text("early")
        late.write_text("late")
    kept = tmp_path / str(refused.value).split()[-1]
    assert (target.read_text(), kept.read_text()) == ("early", "late")
    assert sorted(os.listdir(tmp_path)) == sorted([target.name, kept.name])
    with replacing(target) as partial:
        partial.write_text("with --force")
    assert target.read_text() == "with --force"


@posix
def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    check_free(tmp_path / "a", force=False)
    (tmp_path / "a").symlink_to(tmp_path / "nowhere")  # a broken link is something too
    with pytest.raises(InputError, match="exists already; choose another --output, or overwrite it with --force"):
        check_free(tmp_path / "a", force=False)
    check_free(tmp_path / "a", force=True)


def test_suffixes_and_dtypes() -> None:
    check_suffix(Path("a.M2L"), ".m2l", "latents")
    with pytest.raises(InputError, match=r"a\.pt: latents are written to files ending in \.m2l"):
        check_suffix(Path("a.pt"), ".m2l", "latents")
    assert (stored_bits("float16"), stored_bits("float32")) == (16, 32)
    with pytest.raises(InputError, match="float16 or float32, not 'bfloat16'"):
        stored_bits("bfloat16")
