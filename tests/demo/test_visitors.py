"""Visitors share nothing, can stop their job, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from music2latent.demo.visitors import Cancelled, Visitors


def _nothing(what: str, done: float) -> None:
    pass


def test_a_session_keeps_its_visitor_and_shares_nothing(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path)
    one, other = visitors.get("one"), visitors.get("../other")
    assert visitors.get("one") is one
    assert one.folder != other.folder
    assert {path.parent for path in (one.folder, other.folder)} == {tmp_path}


def test_a_job_is_stopped_at_its_next_report_and_the_next_job_runs(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path)
    one, other = visitors.get("one"), visitors.get("other")
    with other.job(_nothing) as (_, others_progress):
        with pytest.raises(Cancelled), one.job(_nothing) as (folder, progress):
            progress("work", 0.1)
            visitors.stop("one")
            progress("work", 0.2)
        others_progress("work", 0.5)
    assert not folder.exists()
    with one.job(_nothing) as (folder, progress):
        progress("work", 1)
    assert folder.exists()


def test_who_leaves_takes_files_and_job_along(tmp_path: Path) -> None:
    visitors = Visitors(tmp_path)
    with pytest.raises(Cancelled), visitors.get("one").job(_nothing) as (folder, progress):
        (folder / "sound.wav").touch()
        visitors.leave("one")
        progress("work", 0.5)
    assert not list(tmp_path.iterdir())
    visitors.leave("one")
    visitors.stop("nobody")
    assert len(visitors) == 0
