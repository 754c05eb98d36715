"""The progress bar: nothing where nobody looks."""

from __future__ import annotations

import pytest

from music2latent.cli.progress import progress_bar


def test_without_a_terminal_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(2) as progress:
        progress("a.wav", 0.5)
        progress("b.wav", 2)
    assert capsys.readouterr() == ("", "")
