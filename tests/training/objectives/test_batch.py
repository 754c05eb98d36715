"""What objectives share: the decoded audio, made once."""

from __future__ import annotations

import pytest
import torch

from music2latent import spectrogram
from music2latent.training.module import TrainingModule
from music2latent.training.objectives import Dimension, Harmonic, Objective, Waveform

from ...helpers import gradient
from ..small import SMALL, module_inputs, small_batch, small_model


def test_decoded_is_one_step_of_the_decoder_where_nothing_fades() -> None:
    batch = small_batch()
    with torch.no_grad():
        spec = batch.model.decode(batch.latents, lambda step: batch.noise)
    expected = spectrogram.overlap_add(spectrogram.synthesise(spec))[:, SMALL.edge : -SMALL.edge]
    torch.testing.assert_close(batch.decoded.detach(), expected)
    assert batch.original.shape == expected.shape


def test_decoded_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, levels = small_model(), []
    denoise = model.denoise

    def recorded(x: torch.Tensor, sigma: torch.Tensor, pyramid: list[torch.Tensor]) -> torch.Tensor:
        levels.append(sigma)
        return denoise(x, sigma, pyramid)

    monkeypatch.setattr(model, "denoise", recorded)
    objectives: dict[str, Objective] = {"harmonic": Harmonic(sizes=(64,)), "waveform": Waveform(sizes=(64,))}
    losses = TrainingModule(model, objectives)(*module_inputs())
    assert len(levels) == 1
    assert set(losses.figures) == {"harmonic", "harmonic/convergence", "harmonic/weighted_log", "waveform"}


@pytest.mark.parametrize("objective", [Harmonic(sizes=(64, 128)), Waveform(sizes=(64, 128)), Dimension()])
def test_every_objective_teaches_the_encoder(objective: Objective) -> None:
    model = small_model()
    TrainingModule(model, {"it": objective})(*module_inputs()).loss.backward()
    found = gradient(model.encoder.conv_inp.weight)
    assert found.isfinite().all()
    assert found.abs().max() > 0
