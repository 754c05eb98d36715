"""evaluate and probe: what the command line makes of lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from music2latent.evaluation.evaluate import Settings

from ..helpers import CLIP, Result


@pytest.mark.parametrize(
    "given",
    [
        ("--model", "mini", "other", "--steps", "1", "2", "--against", "opus:12", "mp3:32"),
        ("-m", "mini", "-m", "other", "--steps", "1", "--steps", "2", "--against", "opus:12", "--against", "mp3:32"),
    ],
)
def test_lists_may_be_given_either_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...]) -> None:
    seen: list[Settings] = []

    def run(inputs: list[Path], settings: Settings, output: Path, **_: object) -> Path:
        seen.append(settings)
        output.mkdir()
        (output / "report.md").write_text("the table")
        return output / "index.html"

    monkeypatch.setattr("music2latent.evaluation.report.run", run)
    done = Result("evaluate", CLIP, *given, "--seconds", 6, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert seen[0].codecs == ("mini", "mini@2", "other", "other@2", "opus:12", "mp3:32")
    assert (seen[0].seconds, seen[0].seeds) == (6.0, 5)
    assert done.out == f"the table\n{tmp_path / 'out' / 'index.html'}: open it in a browser to listen\n"
