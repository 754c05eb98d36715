"""A run's state: averages, the flat parameter, starting points, and checkpoints that cannot be gone on from."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch

from music2latent import InputError
from music2latent.autoencoder import Autoencoder
from music2latent.checkpoint import write_safetensors
from music2latent.config import PRESETS
from music2latent.spectrogram import spectrogram
from music2latent.training.config import TrainingConfig
from music2latent.training.data import index_folder
from music2latent.training.folder import read_state
from music2latent.training.loop import make_accelerator, train
from music2latent.training.module import initialise
from music2latent.training.objectives import Dimension, Features, Objective, Pyramid, Readout
from music2latent.training.run import Run, averaged, flattened

from ..helpers import reference_checkpoint, sound
from .small import (
    CONFIG,
    OBJECTIVES,
    RECIPE,
    SMALL,
    SPECTRAL,
    learn,
    module_inputs,
    run_state,
    small_model,
    train_small,
)


def test_averaged_weights() -> None:
    model = small_model()
    ema = averaged(model, 0.5)
    expected = model.denoiser.conv_out.weight.detach().clone()
    for count in range(4):
        with torch.no_grad():
            model.denoiser.conv_out.weight.add_(1.0)
        ema.update_parameters(model)
        # the first update copies; then the decay warms up until it reaches its limit
        decay = 0 if count == 0 else min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * model.denoiser.conv_out.weight.detach()
        torch.testing.assert_close(cast(Autoencoder, ema.module).denoiser.conv_out.weight.detach(), expected)


def test_a_flattened_model_learns_as_its_many_parameters() -> None:
    many, one = (Autoencoder(SMALL).to(memory_format=torch.channels_last) for _ in range(2))  # type: ignore[call-overload]
    initialise(many, RECIPE)
    one.load_state_dict(many.state_dict())
    flat = flattened(one)
    optimizers = [torch.optim.RAdam(many.parameters(), lr=1e-2), torch.optim.RAdam([flat], lr=1e-2)]
    audio = torch.from_numpy(sound(2, 6000))
    for _ in range(7):  # the sixth is the first that RAdam rectifies
        for model, optimizer in zip((many, one), optimizers, strict=True):
            optimizer.zero_grad(set_to_none=False)
            model.encoder(spectrogram(audio, SMALL.hop_length)).square().sum().backward()
            optimizer.step()
    for (name, a), b in zip(many.named_parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


def test_accumulated_passes_are_one_batch(data: Path, tmp_path: Path) -> None:
    train_small(data, tmp_path / "whole")
    train_small(data, tmp_path / "parts", replace(CONFIG, recipe=replace(RECIPE, accumulate=2)))
    one, two = run_state(tmp_path / "whole"), run_state(tmp_path / "parts")
    assert all(torch.allclose(one[key], two[key], rtol=1e-3, atol=1e-4) for key in one)


def test_fine_tuning_from_an_official_checkpoint(data: Path, tmp_path: Path) -> None:
    weights = dict(reference_checkpoint("tiny").state_dict)
    torch.save({"gen_state_dict": weights}, tmp_path / "official.pt")
    model = replace(PRESETS["tiny"], heads=4)
    config = TrainingConfig(
        model, replace(RECIPE, iterations=1, batch_size=1, lr=1e-9, final_lr=1e-9), CONFIG.objectives
    )
    train(config, [(data, 1.0)], tmp_path / "run", init_from=str(tmp_path / "official.pt"))
    state = run_state(tmp_path / "run")
    assert all(torch.allclose(state[f"model.{key}"], weight, atol=1e-6) for key, weight in weights.items())
    with pytest.raises(
        InputError, match=r"a model of another configuration: layers_list .*hop_length 512 instead of 64"
    ):
        train_small(data, tmp_path / "other", init_from=str(tmp_path / "official.pt"))


def test_a_frozen_encoder_stays_what_it_is(data: Path, tmp_path: Path) -> None:
    start = replace(reference_checkpoint("tiny"), config=SMALL, state_dict=small_model().state_dict())
    write_safetensors(tmp_path / "start.safetensors", start)
    config = replace(CONFIG, recipe=replace(RECIPE, iterations=2, freeze_encoder=True))
    train_small(data, tmp_path / "run", config, init_from=str(tmp_path / "start.safetensors"))
    state = run_state(tmp_path / "run")
    for key, weight in start.state_dict.items():
        for found in (state[f"model.{key}"], state[f"ema.module.{key}"]):
            if key.startswith("encoder."):
                assert torch.equal(found, weight), key
    assert not torch.equal(state["model.conv_inp.weight"], start.state_dict["conv_inp.weight"])


@pytest.mark.parametrize("tones", [False, True])
@pytest.mark.parametrize(
    ("objectives", "freeze_encoder"),
    [
        ({"features": Features()}, False),
        ({"readout": Readout(), "dimension": Dimension()}, False),
        ({"pyramid": Pyramid()}, True),
        ({"pyramid": Pyramid()}, False),
        ({"spectral": SPECTRAL}, False),
        ({"spectral": SPECTRAL}, True),
        (OBJECTIVES, False),
    ],
)
def test_whatever_is_trained_gets_a_gradient(
    data: Path, tmp_path: Path, objectives: dict[str, Objective], freeze_encoder: bool, tones: bool
) -> None:
    """Or several processes would wait for it."""
    recipe = replace(RECIPE, freeze_encoder=freeze_encoder)
    config = TrainingConfig(replace(SMALL, tones=tones), recipe, objectives)
    run = Run(config, [index_folder(data, 1.0, tmp_path)], tmp_path, make_accelerator(config.recipe))
    trained = [one for one in run.training.parameters() if one.requires_grad]
    learn(run.training, 1)  # readouts are fitted to the batches before
    gradients = torch.autograd.grad(run.training(*module_inputs()).loss, trained, allow_unused=True)
    assert trained
    assert all(gradient is not None for gradient in gradients)


def test_fine_tuning_is_measured_before_it_begins(data: Path, tmp_path: Path) -> None:
    """So that best.pt is never worse than what it started from."""
    start = replace(reference_checkpoint("tiny"), config=SMALL, state_dict=small_model().state_dict())
    write_safetensors(tmp_path / "start.safetensors", start)
    recipe = replace(RECIPE, iterations=1, lr=1.0, final_lr=1.0)  # to ruin it
    name = str(tmp_path / "start.safetensors")
    train_small(data, tmp_path / "run", replace(CONFIG, recipe=recipe), validation=data, init_from=name)
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    checks = [line["iteration"] for line in lines if "validation/log_spectral_distance" in line]
    assert checks == [0, 1]
    best = read_state(tmp_path / "run" / "best.pt")
    assert best["iteration"] == 0
    assert all(torch.equal(best["ema"][f"module.{key}"], weight) for key, weight in start.state_dict.items())


def test_dropped_channels_are_the_last_of_some_crops(data: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, recipe=replace(RECIPE, batch_size=400, latent_dropout=0.25))
    run = Run(config, [index_folder(data, 1.0, tmp_path)], tmp_path, make_accelerator(config.recipe))
    mask = run.draw(0)[4]
    assert mask is not None
    assert mask.shape == (400, SMALL.latent_dim, 1)
    assert bool((mask.diff(dim=1) <= 0).all()), "the first are kept"
    kept = mask.sum((1, 2))
    assert kept.min() >= 1
    dropped = kept < SMALL.latent_dim
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert kept[dropped].mean().item() == pytest.approx(SMALL.latent_dim / 2, rel=0.15)
    run.num_seen = 399
    again = run.draw(0)[4]
    assert again is not None
    assert torch.equal(again[0], mask[399]), "a crop's own"


def test_second_steps_of_no_crop_are_refused(data: Path, tmp_path: Path) -> None:
    """A share that rounds to nothing in every pass would be left out without a word."""
    objectives = {"spectral": replace(SPECTRAL, second=0.25)}
    for accumulate, refused in ((1, False), (4, True)):
        config = TrainingConfig(SMALL, replace(RECIPE, accumulate=accumulate), objectives)
        with pytest.raises(InputError, match="second = 0.25 of 1 crops") if refused else nullcontext():
            Run(config, [index_folder(data, 1.0, tmp_path)], tmp_path, make_accelerator(config.recipe))
