"""The smallest model that is one, and a run of a few iterations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch

from music2latent.autoencoder import Autoencoder
from music2latent.config import PRESETS
from music2latent.training.config import Recipe, TrainingConfig
from music2latent.training.folder import read_state
from music2latent.training.loop import train
from music2latent.training.module import TrainingModule
from music2latent.training.objectives import Adversarial, Batch, Consistency, Head, Objective, Readout, Spectral

from ..helpers import sound

# The smallest model that is one: quick, and every layer is there.
SMALL = replace(
    PRESETS["tiny"], hop_length=64, layers_list=(1, 1, 1, 1, 1), bottleneck_base_channels=16, num_bottleneck_layers=1
)
RECIPE = Recipe(
    iterations=6,
    batch_size=4,
    crop_columns=16,
    workers=0,
    lr=1e-3,
    warmup=2,
    latent_noise=0.05,
    latent_dropout=0.5,
    precision="no",
    init="variance_preserving",
    log_every=1,
    validate_every=3,
    save_every=1,
)
SPECTRAL = Spectral(weight=0.5, sizes=(64, 128))
OBJECTIVES: dict[str, Objective] = {
    "consistency": Consistency(),
    "spectral": SPECTRAL,
    "readout": Readout(weight=0.1),  # which has layers of its own, as the next
    "adversarial": Adversarial(weight=0.1, sizes=(64, 128), channels=4),
}
CONFIG = TrainingConfig(SMALL, RECIPE, OBJECTIVES)
OFFICIAL = PRESETS["official"]


def module_inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    sigma = torch.tensor([0.5, 2.0], dtype=torch.float64)
    noise = torch.randn(2, 2, SMALL.bins, RECIPE.crop_columns)
    return torch.from_numpy(sound(2, CONFIG.crop_samples)), sigma, 0.9 * sigma, noise


def small_model() -> Autoencoder:
    torch.manual_seed(1)
    model = Autoencoder(SMALL)
    for parameter in model.parameters():  # nothing at zero: every path carries a gradient
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def small_batch() -> Batch:
    """What `TrainingModule` gives its objectives."""
    return TrainingModule(small_model(), {}).batch(*module_inputs())


def learn(training: TrainingModule, iterations: int, lr: float = 1e-3) -> float:
    """The loss after so many on the same batch, of the readouts alone if the model's weights are frozen."""
    weights = [weight for weight in training.parameters() if weight.requires_grad]
    optimizer = torch.optim.RAdam(weights, lr=lr) if weights else None
    for _ in range(iterations):
        found = training(*module_inputs())
        if optimizer:
            optimizer.zero_grad()
            found.loss.backward()
            optimizer.step()
        for head in training.heads.values():
            cast(Head, head).learn()
    return found.loss.item()


def train_small(data: Path, run: Path, config: TrainingConfig = CONFIG, **options: object) -> int:
    return train(config, [(data, 1.0)], run, **options)  # type: ignore[arg-type]


def run_state(run: Path) -> dict[str, torch.Tensor]:
    state = read_state(run / "last.pt")
    return {f"{part}.{key}": value for part in ("model", "heads", "ema") for key, value in state[part].items()}


def train_command(data: Path, run: Path, *settings: str) -> list[str]:
    tables = CONFIG.to_dict()
    values = tables["training"] | dict(setting.split("=") for setting in settings)
    values |= {
        f"objectives.{name}.{key}": value
        for name, table in tables["objectives"].items()
        for key, value in table.items()
    }
    model = {key: value for key, value in SMALL.to_dict().items() if value != OFFICIAL.to_dict()[key]}
    options = [
        f"--set={key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in values.items()
    ]
    options += [f"--set=model.{key}={value}" for key, value in model.items()]
    return ["-m", "music2latent", "train", "official", f"--data={data}", f"--output={run}", *options]
