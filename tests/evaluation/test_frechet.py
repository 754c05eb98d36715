"""The Fréchet Audio Distance, with a stand-in for its package."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from music2latent.audio import open_audio, read_whole, write_audio
from music2latent.errors import InputError
from music2latent.evaluation.frechet import make_distance

from ..helpers import Result, sound


class Loudness:
    """In place of the package frechet-audio-distance: how far the files of two folders are apart in level."""

    def __init__(self, model_name: str, verbose: bool, sample_rate: int, **options: str) -> None:
        if model_name == "clap":
            raise OSError("no connection")
        assert (model_name, sample_rate) == ("vggish", 16000)

    def score(self, originals: str, reconstructions: str) -> float:
        folders = [sorted(Path(folder).iterdir()) for folder in (originals, reconstructions)]
        assert [path.name for path in folders[0]] == [path.name for path in folders[1]] == ["0.wav", "1.wav"]
        levels = [[read_whole(open_audio(path), 44100).std() for path in folder] for folder in folders]
        return -1 if levels[0][0] < 0.01 else abs(np.log(levels[0]) - np.log(levels[1])).mean()


def test_frechet_distance_is_between_originals_and_reconstructions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        sys.modules, "frechet_audio_distance", SimpleNamespace(FrechetAudioDistance=Loudness, __spec__=True)
    )
    for name, gain in (("loud", 1.0), ("soft", 0.01)):
        (tmp_path / name).mkdir()
        for number in range(2):
            write_audio(tmp_path / name / f"{number}.wav", [gain * sound(1, 44100, number)], 44100, 1, 44100)
    options = ("--against", "opus:96", "nowhere:1", "--fad", "vggish", "--model", "mini", "--seeds", 1, "--examples", 1)
    done = Result("evaluate", tmp_path / "loud", "-o", tmp_path / "report", *options)
    assert done.code == 0, done.err
    ours, opus, failed = json.loads((tmp_path / "report" / "report.json").read_text())["codecs"]
    assert 0 < opus["fad"]["vggish"] < ours["fad"]["vggish"] < 3
    assert "fad" not in failed
    assert f"| {opus['fad']['vggish']:.2f} |" in done.out
    assert "Fréchet Audio Distance (vggish), lower" in done.out
    done = Result("evaluate", tmp_path / "soft", "-o", tmp_path / "none", *options)
    assert json.loads((tmp_path / "none" / "report.json").read_text())["codecs"][1]["fad"] == {"vggish": None}


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("ears", "accepted: vggish, clap"),
        ("clap", "could not be had (OSError: no connection)"),
        ("", "music2latent[fad]"),
    ],
)
def test_frechet_distance_says_what_it_needs(network: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = SimpleNamespace(FrechetAudioDistance=Loudness, __spec__=True) if network else None
    monkeypatch.setitem(sys.modules, "frechet_audio_distance", installed)
    with pytest.raises(InputError, match=re.escape(message)):
        make_distance(network or "vggish")
