"""A run in progress: weights, averages, optimizer and schedule, resumable to the bit.

Crops, noise levels and noise follow from (seed, number), not from a generator's state: there is none to save.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ..autoencoder import Autoencoder
from ..checkpoint import Checkpoint
from ..errors import InputError
from ..files import replacing
from .config import Recipe, TrainingConfig
from .data import AudioFolder, Crops, crop_order, read_batches
from .folder import RUN_VERSION, check_same_run, config_of, read_state
from .levels import draw_sigmas
from .log import Totals
from .module import TrainingModule, choose_trained, initialise
from .objectives import Head, Spectral

if TYPE_CHECKING:
    from accelerate import Accelerator


def learning_rate(iteration: int, recipe: Recipe) -> float:
    """Factor on `lr`: linear warm-up, then a cosine down to final_lr at the last iteration."""
    if iteration < recipe.warmup:
        return (iteration + 1) / recipe.warmup
    progress = (iteration - recipe.warmup) / max(1, recipe.iterations - recipe.warmup)
    low = recipe.final_lr / recipe.lr
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def training_crops(folders: Sequence[AudioFolder], config: TrainingConfig) -> Crops:
    """The crops that a run of this configuration draws."""
    recipe = config.recipe
    return Crops(folders, config.model.sample_rate, config.crop_samples, seed=recipe.seed, min_rms=recipe.min_rms)


def averaged(model: Autoencoder, decay: float) -> AveragedModel:
    """A model's exponential moving average, with decay min(decay, (1 + n) / (10 + n)) at the n-th update."""

    def update(own: Any, current: Any, count: Any) -> None:
        now = min(decay, (1 + float(count)) / (10 + float(count)))
        torch._foreach_lerp_(own, current, 1 - now)

    return AveragedModel(model, multi_avg_fn=update)


def flattened(model: nn.Module) -> nn.Parameter:
    """One parameter, with one gradient, of which the model's own become views: the cost of an update grows with
    the number of tensors, here some four hundred."""
    own = [parameter for parameter in model.parameters() if parameter.requires_grad]
    flat = nn.Parameter(torch.cat([torch.as_strided(p.detach(), (p.numel(),), (1,)) for p in own]))
    flat.grad = torch.zeros_like(flat)
    for parameter, values, gradient in zip(
        own, *(whole.split([p.numel() for p in own]) for whole in (flat.detach(), flat.grad)), strict=True
    ):
        layout = parameter.size(), parameter.stride()
        parameter.data, parameter.grad = values.as_strided(*layout), gradient.as_strided(*layout)
    return flat


class Run:
    """One process of a training run."""

    def __init__(
        self, config: TrainingConfig, data: Sequence[AudioFolder], folder: Path, accelerator: Accelerator
    ) -> None:
        recipe = config.recipe
        self.config, self.folder, self.accelerator = config, folder, accelerator
        world = accelerator.num_processes
        if recipe.batch_size % (world * recipe.accumulate):
            raise InputError(
                f"batch_size = {recipe.batch_size} cannot be shared by {world} processes x accumulate = "
                f"{recipe.accumulate}; choose a multiple of {world * recipe.accumulate}"
            )
        self.micro_batch = recipe.batch_size // (world * recipe.accumulate)
        spectral = config.active.get("spectral")
        if isinstance(spectral, Spectral) and 0 < spectral.second * self.micro_batch <= 0.5:
            raise InputError(
                f"spectral: second = {spectral.second} of {self.micro_batch} crops, which one process sees in a pass, "
                "is none; choose batch_size higher, or accumulate lower"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model = Autoencoder(config.model)
            initialise(self.model, recipe)
            choose_trained(self.model, config)
            training = TrainingModule(self.model, config.active)
        if recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.to(accelerator.device)
        self.ema: AveragedModel = averaged(self.model, recipe.ema_decay)
        self.heads = training.heads
        self.training = accelerator.prepare(torch.compile(training) if recipe.compile else training)
        self.flat = flattened(self.model)  # after Accelerate, which moves parameters
        self.optimizer = torch.optim.RAdam([self.flat], lr=recipe.lr, betas=(recipe.beta1, recipe.beta2))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda i: learning_rate(i, recipe))
        self.prepared = accelerator.prepare(self.optimizer)
        self.crops = training_crops(data, config)
        self.iteration = 0
        self.num_seen = 0
        self.best = math.inf
        self.tuned = False

    # ------------------------------------------------------------------------------------- state

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs: tensors and numbers only, so that reading it runs no code."""
        return {
            "version": RUN_VERSION,
            "config": json.dumps(self.config.to_dict()),
            "iteration": self.iteration,
            "num_seen": self.num_seen,
            "best": self.best,
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else {},
        }

    def write(self, name: str) -> None:
        """Write a checkpoint, replacing the older one at once or not at all.

        Raises:
            InputError: a full disk; the older one is still there.
        """
        path = self.folder / name
        try:
            with replacing(path) as partial:
                torch.save(self.state(), partial)
        except RuntimeError as error:  # what PyTorch's writer raises when the disk is full
            raise InputError(f"{path}: cannot be written (is the disk full?); the older one is still there") from error

    def resume(self) -> bool:
        """Go on from RUN/last.pt, if there is one. RUN/best.pt knows its own figure, whenever the run was stopped.

        Raises:
            InputError: either is damaged, foreign, or of another configuration.
        """
        best, last = self.folder / "best.pt", self.folder / "last.pt"
        if best.exists():
            self.best = self._read(best)["best"]
        if not last.exists():
            return False
        state = self._read(last)
        try:
            self.model.load_state_dict(state["model"])
            self.heads.load_state_dict(state["heads"])
            self.ema.load_state_dict(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.schedule.load_state_dict(state["schedule"])
            if state["scaler"] and self.accelerator.scaler:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            if any(moment.shape not in ((), self.flat.shape) for moment in self.optimizer.state[self.flat].values()):
                raise ValueError("the optimizer's moments have another shape")
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"{last}: damaged, it does not fit its own configuration ({reason})") from error
        self.iteration, self.num_seen = state["iteration"], state["num_seen"]
        return True

    def _read(self, path: Path) -> dict[str, Any]:
        state = read_state(path)
        check_same_run(config_of(state, path), self.config, path)
        return state

    def start_from(self, checkpoint: Checkpoint) -> None:
        """Start from a model's weights: fine-tuning.

        Raises:
            InputError: a model of another configuration, or weights that are not finite.
        """
        name, ours, theirs = checkpoint.model_id, self.config.model.to_dict(), checkpoint.config.to_dict()
        if other := [f"{key} {theirs[key]} instead of {ours[key]}" for key in ours if ours[key] != theirs[key]]:
            raise InputError(f"--init-from {name}: a model of another configuration: {'; '.join(other)}")
        self.model.load_state_dict(checkpoint.state_dict)
        self.ema.module.load_state_dict(checkpoint.state_dict)
        self.tuned = True

    # ------------------------------------------------------------------------------------- iterations

    def batches(self) -> Generator[Tensor]:
        """This process's crops `[micro_batch, n]` from num_seen on, without an end. Close it when done."""
        accelerator, size = self.accelerator, self.micro_batch
        order = crop_order(self.num_seen, size, accelerator.process_index, accelerator.num_processes)
        return read_batches(self.crops, order, size, self.config.recipe.workers)

    def draw(self, part: int) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """Noise levels, noise, and noise and mask of the latents for one pass: every crop's own, from (seed, its
        number), whichever process has it."""
        recipe, model, device = self.config.recipe, self.config.model, self.accelerator.device
        place = part * self.accelerator.num_processes + self.accelerator.process_index
        first = self.num_seen + place * self.micro_batch
        shapes = (
            (2, model.bins, recipe.crop_columns),
            (model.latent_dim, recipe.crop_columns // model.columns_per_latent),
        )
        pairs: list[tuple[Tensor, Tensor]] = []
        noises: tuple[list[Tensor], list[Tensor]] = [], []
        kept: list[float] = []
        for number in range(first, first + self.micro_batch):
            words = np.random.SeedSequence((recipe.seed, number)).generate_state(4, np.uint64) >> np.uint64(1)
            generator = torch.Generator().manual_seed(int(words[0]))
            pairs.append(draw_sigmas(1, self.iteration / recipe.iterations, model, recipe, generator))
            for drawn, shape, word in zip(noises, shapes, words[1:3], strict=True):
                generator = torch.Generator(device).manual_seed(int(word))
                drawn.append(torch.randn(shape, device=device, generator=generator))
            chance, share = torch.rand(2, generator=torch.Generator().manual_seed(int(words[3]))).tolist()
            kept.append(share if chance < recipe.latent_dropout else 1.0)
        sigma, sigma_next = (torch.cat(levels) for levels in zip(*pairs, strict=True))
        noise, of_latents = map(torch.stack, noises)
        channels = torch.arange(model.latent_dim, device=device) / model.latent_dim
        latent_mask = (channels <= torch.tensor(kept, device=device)[:, None]).float()[..., None]
        return (
            *(sigma, sigma_next, noise),
            recipe.latent_noise * of_latents if recipe.latent_noise else None,
            latent_mask if recipe.latent_dropout else None,
        )

    def iterate(self, batches: Iterator[Tensor], totals: Totals) -> bool:
        """One update of the weights; False if it was skipped for a loss or gradient that is not finite."""
        recipe, accelerator = self.config.recipe, self.accelerator
        figures: dict[str, float] = {}
        latents: list[Tensor] = []
        for part in range(recipe.accumulate):
            begun = time.perf_counter()
            audio = next(batches).to(accelerator.device)
            totals.waited += time.perf_counter() - begun
            last = part == recipe.accumulate - 1
            with nullcontext() if last else accelerator.no_sync(self.training):
                losses = self.training(audio, *self.draw(part))
                accelerator.backward(losses.loss / recipe.accumulate)
            latents.append(losses.latents)
            for name, value in {"loss": losses.loss, **losses.figures}.items():
                figures[name] = figures.get(name, 0.0) + value.item() / recipe.accumulate
        # Between items, not along time: a collapsed encoder gives every item the same latents.
        spread = accelerator.gather(torch.cat(latents)).std(dim=0, correction=0)
        figures["latent_spread"] = spread.mean().item()
        norm = accelerator.clip_grad_norm_([self.flat], recipe.clip_norm or math.inf)
        figures["gradient_norm"] = float(norm) if norm is not None else 0.0
        finite = torch.tensor(float(all(map(math.isfinite, figures.values()))), device=accelerator.device)
        good = bool(accelerator.reduce(finite, "sum").item() == accelerator.num_processes)
        if good or accelerator.scaler:  # a scaler skips by itself, and needs to see the overflow to lower its scale
            self.prepared.step()
        self.prepared.zero_grad(set_to_none=False)
        if good:
            self.ema.update_parameters(self.model)
            totals.add(lr=float(self.schedule.get_last_lr()[0]), **figures)
        for head in cast(Iterable[Head], self.heads.values()):
            if good:
                head.learn(lambda own: accelerator.reduce(own, "mean"))
            else:
                head.forget()
        self.schedule.step()
        self.iteration += 1
        self.num_seen += recipe.batch_size
        return good
