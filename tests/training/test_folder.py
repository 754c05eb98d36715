"""The run folder: one run at a time, of one configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from music2latent import InputError
from music2latent.training.folder import locked

from .small import CONFIG, RECIPE, train_small


def test_two_runs_on_one_folder(data: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(InputError, match="another run is training there"):
        train_small(data, tmp_path / "run")


def test_another_configuration_is_refused(data: Path, tmp_path: Path) -> None:
    train_small(data, tmp_path / "run", max_minutes=0)
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(InputError, match=r"training.lr was 0.001, now 0.5; choose another --output"):
        train_small(data, tmp_path / "run", replace(CONFIG, recipe=replace(RECIPE, lr=0.5)))
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True) | {"version": 3}
    torch.save(state, tmp_path / "run" / "last.pt")
    with pytest.raises(InputError, match="written by version 3 of the trainer, this one reads 2"):
        train_small(data, tmp_path / "run")
    (tmp_path / "run" / "last.pt").write_bytes(before[:1000])
    with pytest.raises(InputError, match="damaged, or not a training checkpoint"):
        train_small(data, tmp_path / "run")
