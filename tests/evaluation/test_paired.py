"""The paired test says better where that is so, and rarely where it is not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from music2latent.evaluation.paired import compare


def files(values: np.ndarray, name: str = "chroma_cosine") -> list[dict[str, float]]:
    return [{name: float(value)} for value in values]


@pytest.mark.parametrize(
    ("name", "verdict"), [("chroma_cosine", "better"), ("mel_distance", "worse"), ("loudness_difference", "worse")]
)
def test_a_small_difference_on_every_file_is_seen(name: str, verdict: str) -> None:
    """Far smaller than the files differ among themselves, which intervals over files could not see."""
    rng = np.random.default_rng(0)
    two = rng.normal(5, 1, 20)
    one = two + rng.normal(0.05, 0.02, 20)
    found = compare(files(one, name), files(two, name), (name,))[name]
    assert (found["verdict"], found["count"]) == (verdict, 20)
    assert found["difference"] == pytest.approx(0.05, abs=0.02)
    assert compare(files(two, name), files(one, name), (name,))[name]["verdict"] != verdict


def test_nearer_zero_is_better_on_both_sides() -> None:
    quiet, loud = np.full(12, -1.0) - 0.01 * np.arange(12), np.full(12, 2.0) + 0.01 * np.arange(12)
    found = compare(files(quiet, "loudness_difference"), files(loud, "loudness_difference"), ("loudness_difference",))
    assert found["loudness_difference"]["verdict"] == "better"


def test_no_difference_is_seldom_called_one() -> None:
    rng = np.random.default_rng(1)
    names = ("chroma_cosine", "mel_distance", "visqol", "f0_error")
    verdicts = []
    for _ in range(200):
        one, two = ([dict(zip(names, row, strict=True)) for row in rng.normal(size=(24, 4))] for _ in range(2))
        verdicts.append(any(row["verdict"] != "cannot tell" for row in compare(one, two, names).values()))
    assert np.mean(verdicts) < 0.1, "5 % of false alarms over all metrics together, not in each"


def test_too_few_files_and_equal_ones_cannot_tell() -> None:
    name = "chroma_cosine"
    few = np.arange(1.0, 5.0)
    assert compare(files(few + 1), files(few), (name,))[name]["verdict"] == "cannot tell"
    assert compare(files(few), files(few), (name,))[name] == {
        **{"verdict": "cannot tell", "difference": 0.0, "p": 1.0, "count": 4}
    }
    holes = compare(files(np.full(3, math.nan)), files(few[:3]), (name,))[name]
    assert (holes["verdict"], holes["count"]) == ("cannot tell", 0)


def test_one_file_far_off_does_not_turn_the_verdict() -> None:
    """An f0 error of one octave on one file: the mean says worse, the test says better."""
    better = np.append(np.full(20, 10.0) + 0.1 * np.arange(20), 1200.0)
    found = compare(files(better, "f0_error"), files(np.full(21, 15.0), "f0_error"), ("f0_error",))["f0_error"]
    assert found["difference"] > 0
    assert found["verdict"] == "better"
