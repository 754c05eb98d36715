"""The report: tables, and a page that a browser plays."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from music2latent.evaluation.report import COLOURS

from ..browser import CHROMIUM, FLAGS
from ..helpers import CLIP, Result


def test_refuses_to_replace_a_report(report: Path) -> None:
    done = Result("evaluate", CLIP, "--output", report)
    assert done.code == 1
    assert "exists already" in done.err


@pytest.mark.skipif(not CHROMIUM, reason="no chromium")
def test_a_browser_shows_the_page_and_can_play_everything(report: Path, tmp_path: Path) -> None:
    """Every player is told to load its file; what the browser found is written into the page and read from there."""
    page = (report / "index.html").read_text()
    probe = """<script>
      Promise.all([...document.querySelectorAll("audio")].map(a => new Promise(done => {
        a.preload = "auto";
        a.oncanplaythrough = () => done(a.duration);
        a.onerror = () => done(-1);
        a.load();
      }))).then(all => { document.title = "durations " + all.map(x => x.toFixed(2)).join(" "); });
    </script>"""
    folder = tmp_path / "page"
    shutil.copytree(report, folder)
    (folder / "index.html").write_text(page + probe)
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'user'}"]
    command += ["--virtual-time-budget=20000", "--dump-dom", (folder / "index.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    durations = re.search(r"<title>durations (.*)</title>", dom)
    assert durations, "the page's players did not answer"
    assert [float(one) for one in durations[1].split()] == pytest.approx([5.0] * 5, abs=0.1)
    assert dom.count("<img ") == 3


def test_the_picture_of_spectrograms_is_small(report: Path) -> None:
    with Image.open(report / "spectrograms.png") as picture:
        assert picture.mode == "P"  # a palette: a quarter of the size of full colour
        assert len(picture.getcolors() or []) <= COLOURS
