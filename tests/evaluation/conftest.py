from __future__ import annotations

from pathlib import Path

import pytest
import torch

from music2latent.audio import open_audio, read_whole

from ..helpers import CLIP, Result


@pytest.fixture(scope="session")
def music() -> torch.Tensor:
    return torch.from_numpy(read_whole(open_audio(CLIP), 44100)[:, : 4 * 44100].copy())


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    done = Result(
        *("evaluate", CLIP, "--model", "mini", "--against", "opus:12", "dac", "--steps", "1", "2"),
        *("--seconds", 6, "--seeds", 2, "--output", folder / "out"),
    )
    assert done.code == 0, done.err
    assert "| mini@2 | 1" in done.out
    return folder / "out"
