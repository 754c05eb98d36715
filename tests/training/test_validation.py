"""Validation: the same clips and noise every time, and better models have better figures."""

from __future__ import annotations

from pathlib import Path

import torch

from music2latent.training.config import TrainingConfig
from music2latent.training.data import index_folder
from music2latent.training.objectives import Spectral
from music2latent.training.validation import CLIPS, SHOWN, Validation

from .small import CONFIG, RECIPE, SMALL, small_model


def test_the_same_model_has_the_same_figures(data: Path, tmp_path: Path) -> None:
    folder = index_folder(data, 1.0, tmp_path)
    one, two = (Validation(folder, CONFIG) for _ in range(2))
    assert one.audio.shape == (CLIPS, CONFIG.crop_samples)
    assert torch.equal(one.audio, two.audio)
    model = small_model().eval()
    first, again = one.measure(model), two.measure(model)
    assert first.metrics == again.metrics
    assert first.reconstructions.shape == (SHOWN, CONFIG.crop_samples)
    assert torch.equal(first.originals, one.audio[:SHOWN])


def test_silence_is_farther_away_than_the_clips_themselves(data: Path, tmp_path: Path) -> None:
    checks, model = Validation(index_folder(data, 1.0, tmp_path), CONFIG), small_model().eval()
    with torch.no_grad():
        for parameter in model.denoiser.conv_out.parameters():
            parameter.zero_()  # what is left is c_skip times the noise: next to nothing
    silent = checks.measure(model)
    assert silent.reconstructions.abs().max() < 0.1
    assert silent.metrics["log_spectral_distance"] > 10


def test_crops_shorter_than_the_usual_windows_are_measured(data: Path, tmp_path: Path) -> None:
    config = TrainingConfig(SMALL, RECIPE)  # no spectral objective that would name sizes
    assert config.crop_samples < max(Spectral().sizes)
    found = Validation(index_folder(data, 1.0, tmp_path), config).measure(small_model().eval())
    assert found.metrics["spectral_distance"] > 0
