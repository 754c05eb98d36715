"""What a run would cost, found without running it: on the meta device nothing is computed and nothing is held."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ..autoencoder import Autoencoder
from .config import TrainingConfig
from .module import TrainingModule, choose_trained


def summary(config: TrainingConfig, processes: int = 1) -> dict[str, Any]:
    """Parameters, floating-point operations of one iteration (forward and backward), and memory of one process.

    Memory counts weights and averaged weights, gradients and RAdam's two moments of those that are trained, all in
    float32, and what the forward pass keeps for the backward pass; mixed precision halves most of the latter.
    """
    recipe = config.recipe
    micro = max(1, recipe.batch_size // (recipe.accumulate * processes))
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[id(tensor.untyped_storage())] = tensor.untyped_storage().nbytes()
        storages.append(tensor.untyped_storage())  # alive, so that no id is used twice
        return tensor

    storages: list[Any] = []
    with torch.device("meta"):
        model = Autoencoder(config.model)
        choose_trained(model, config)
        training = TrainingModule(model, config.active)
        audio = torch.zeros(micro, config.crop_samples)
        sigma = torch.ones(micro, dtype=torch.float64)
        noise = torch.zeros(micro, 2, config.model.bins, recipe.crop_columns)
        with (
            FlopCounterMode(display=False) as counter,
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        ):
            training(audio, sigma, sigma / 2, noise).loss.backward()
    weights = 4 * model.num_parameters
    trained = 4 * sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    activations = sum(kept.values())
    return {
        "parameters": model.num_parameters,
        "crop_seconds": round(config.crop_samples / config.model.sample_rate, 3),
        "crops_per_process_and_pass": micro,
        "gflop_per_iteration": round(counter.get_total_flops() * recipe.accumulate / 1e9, 1),
        "gib_weights_and_optimizer": round((2 * weights + 3 * trained) / 2**30, 2),
        "gib_activations_float32": round(activations / 2**30, 2),
        "audio_hours_of_the_schedule": round(
            recipe.iterations * recipe.batch_size * config.crop_samples / config.model.sample_rate / 3600, 1
        ),
    }
