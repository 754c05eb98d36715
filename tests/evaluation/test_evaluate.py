"""`evaluate`: real coders at real bitrates, rows for what cannot run, and a page that a browser plays."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from itertools import count, repeat
from pathlib import Path

import numpy as np
import pytest

from music2latent.audio import write_audio
from music2latent.evaluation.evaluate import _measure, _several, deviation, interval
from music2latent.evaluation.metrics import METRICS
from music2latent.evaluation.pieces import choose

from ..helpers import CLIP, INTERRUPTED, posix, sound


def test_intervals_cover_and_leave_nan_out() -> None:
    found = interval([1.0, 2.0, 3.0, math.nan])
    assert found["count"] == 3
    assert found["mean"] == 2
    assert 1 <= found["low"] < 2 < found["high"] <= 3
    assert interval([math.nan])["count"] == 0
    assert deviation([math.nan, math.nan]) == deviation([3.0, math.nan]) == 0
    assert deviation([1.0, math.nan, 3.0]) == pytest.approx(math.sqrt(2))
    draws = np.random.default_rng(0).normal(size=(200, 30))
    covered = [(one := interval(list(row)))["low"] <= 0 <= one["high"] for row in draws]
    assert 0.85 < np.mean(covered) < 1


def test_report_has_every_figure_and_a_row_for_what_failed(report: Path) -> None:
    result = json.loads((report / "report.json").read_text())
    assert [row["name"] for row in result["codecs"]] == ["mini", "mini@2", "opus:12", "dac"]
    mini, _, opus, dac = result["codecs"]
    assert "not installed" in dac["error"]
    assert mini["kbps"] == pytest.approx(64 * 16 * 10.77 / 1000, rel=0.05)
    assert set(mini["means"]) == set(mini["spread_over_seeds"]) == set(METRICS)
    assert mini["spread_over_seeds"]["si_sdr"] > 0 == opus["spread_over_seeds"]["si_sdr"]
    assert mini["means"]["visqol"]["mean"] == mini["files"][0]["visqol"] > 1
    assert min(mini["encode_rate"], mini["decode_rate"], opus["encode_rate"]) > 0
    assert 1e8 < mini["peak_bytes"] < 4e9
    assert mini["latents"]["latent_dim"] == 64
    assert 1 <= mini["latents"]["effective_dimension"] <= 64
    assert mini["latents"]["seed_distance"] > 0
    assert opus["latents"] is None
    text = (report / "report.md").read_text()
    assert "- dac: " in text
    assert "mini beside the others" in text
    # Of one file nobody can tell.
    assert {row["verdict"] for row in opus["paired"].values()} == {"cannot tell"}
    assert opus["paired"]["mel_distance"]["difference"] == pytest.approx(
        mini["files"][0]["mel_distance"] - opus["files"][0]["mel_distance"]
    )


def test_many_files_are_measured_at_once_with_the_same_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(8):
        write_audio(tmp_path / f"{number}.wav", [sound(1, 22050)], 44100, 1, 22050)
        np.save(tmp_path / f"{number}-0.npy", sound(1, 22050) * (number + 1) / 9)
    files, pieces = [{"seeds": [{}], "number": number} for number in range(8)], choose([tmp_path])
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    with _several(8) as map_files:
        assert map_files is not map
        found = list(map_files(_measure, files, pieces, repeat(tmp_path), count()))
    assert [file["number"] for file in found] == list(range(8))
    for one, other in zip(found, map(_measure, files, pieces, repeat(tmp_path), count()), strict=True):
        assert one["seeds"][0] == pytest.approx(other["seeds"][0], rel=1e-5, nan_ok=True)
    with _several(3) as map_files:
        assert map_files is map


@posix
def test_interrupt_ends_the_codec_too(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "music2latent", "evaluate", CLIP, "--seeds", "300", "--output", tmp_path / "out")
    (tmp_path / "work").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "work")}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    while not any((tmp_path / "work").rglob("*.npy")):
        assert process.poll() is None
        time.sleep(0.1)
    process.terminate()
    _, err = process.communicate(timeout=20)  # until nobody holds its end: the codec's process does as well
    assert (process.returncode, err.splitlines(keepends=True)[-1]) == INTERRUPTED
    assert sorted(os.listdir(tmp_path)) == ["work"]
    assert not os.listdir(tmp_path / "work")
