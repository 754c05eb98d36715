"""The training loop: Accelerate around PyTorch, resumable to the bit.

Crops, noise levels and noise follow from (seed, process, number), not from a generator's state: there is none to save.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from ..autoencoder import Autoencoder
from ..devices import keep_freed_memory
from ..errors import InputError
from ..extras import require
from ..files import replacing
from ..pretrained import load_checkpoint
from .config import Recipe, TrainingConfig
from .data import AudioFolder, CropOrder, Crops, cache_audio, index_folder
from .folder import RUN_VERSION, check_same_run, locked, read_state, write_run
from .levels import draw_sigmas
from .log import Log, Totals
from .module import TrainingModule, initialise
from .validation import Validation

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

COLLAPSED = 0.02
"""Spread of the latents between items below which the encoder no longer looks at its input."""


def learning_rate(iteration: int, recipe: Recipe) -> float:
    """Factor on `lr`: linear warm-up, then a cosine down to final_lr at the last iteration."""
    if iteration < recipe.warmup:
        return (iteration + 1) / recipe.warmup
    progress = (iteration - recipe.warmup) / max(1, recipe.iterations - recipe.warmup)
    low = recipe.final_lr / recipe.lr
    return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def training_crops(folders: list[AudioFolder], config: TrainingConfig) -> Crops:
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

    def __init__(self, config: TrainingConfig, data: list[AudioFolder], folder: Path, accelerator: Accelerator) -> None:
        recipe = config.recipe
        self.config, self.folder, self.accelerator = config, folder, accelerator
        world = accelerator.num_processes
        if recipe.batch_size % (world * recipe.accumulate):
            raise InputError(
                f"batch_size = {recipe.batch_size} cannot be shared by {world} processes x accumulate = "
                f"{recipe.accumulate}; choose a multiple of {world * recipe.accumulate}"
            )
        self.micro_batch = recipe.batch_size // (world * recipe.accumulate)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model = Autoencoder(config.model)
            initialise(self.model, recipe)
        if recipe.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.to(accelerator.device)
        self.ema: AveragedModel = averaged(self.model, recipe.ema_decay)
        training: nn.Module = TrainingModule(self.model, config.objectives)
        if recipe.compile:
            training = torch.compile(training)  # type: ignore[assignment]
        self.training = accelerator.prepare(training)
        self.flat = flattened(self.model)  # after Accelerate, which moves parameters
        self.optimizer = torch.optim.RAdam([self.flat], lr=recipe.lr, betas=(recipe.beta1, recipe.beta2))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda i: learning_rate(i, recipe))
        self.prepared = accelerator.prepare(self.optimizer)
        self.crops = training_crops(data, config)
        self.iteration = 0
        self.num_seen = 0
        self.best = math.inf

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
        """Go on from RUN/last.pt, if there is one."""
        path = self.folder / "last.pt"
        if not path.exists():
            return False
        state = read_state(path)
        check_same_run(TrainingConfig.from_dict(json.loads(state["config"])), self.config, path)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if state["scaler"] and self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.iteration, self.num_seen, self.best = state["iteration"], state["num_seen"], state["best"]
        return True

    def start_from(self, name: str) -> None:
        """Start from a model's weights: fine-tuning.

        Raises:
            InputError: a model of another configuration.
        """
        checkpoint = load_checkpoint(name)
        ours, theirs = self.config.model.to_dict(), checkpoint.config.to_dict()
        if other := [f"{key} {theirs[key]} instead of {ours[key]}" for key in ours if ours[key] != theirs[key]]:
            raise InputError(f"--init-from {name}: a model of another configuration: {'; '.join(other)}")
        self.model.load_state_dict(checkpoint.state_dict)
        self.ema.module.load_state_dict(checkpoint.state_dict)

    # ------------------------------------------------------------------------------------- iterations

    def batches(self) -> Iterator[Tensor]:
        """This process's crops `[micro_batch, n]` from num_seen on, without an end."""
        order = CropOrder(
            self.num_seen, self.micro_batch, self.accelerator.process_index, self.accelerator.num_processes
        )
        workers = self.config.recipe.workers
        loader = DataLoader(
            self.crops,
            self.micro_batch,
            sampler=order,
            num_workers=workers,
            pin_memory=self.accelerator.device.type == "cuda",
            prefetch_factor=4 if workers else None,
            worker_init_fn=_leave_signals_to_the_run,
        )
        return iter(loader)

    def draw(self, part: int) -> tuple[Tensor, Tensor, Tensor]:
        """Noise levels and noise of one pass: every crop's own, from (seed, its number), whichever process has it."""
        recipe, device = self.config.recipe, self.accelerator.device
        place = part * self.accelerator.num_processes + self.accelerator.process_index
        first = self.num_seen + place * self.micro_batch
        pairs, noises = [], []
        for number in range(first, first + self.micro_batch):
            words = np.random.SeedSequence((recipe.seed, number)).generate_state(2, np.uint64) >> np.uint64(1)
            generator = torch.Generator().manual_seed(int(words[0]))
            pairs.append(draw_sigmas(1, self.iteration / recipe.iterations, self.config.model, recipe, generator))
            generator = torch.Generator(device).manual_seed(int(words[1]))
            shape = (2, self.config.model.bins, recipe.crop_columns)
            noises.append(torch.randn(shape, device=device, generator=generator))
        sigma, sigma_next = (torch.cat(levels).to(device) for levels in zip(*pairs, strict=True))
        return sigma, sigma_next, torch.stack(noises)

    def iterate(self, batches: Iterator[Tensor], totals: Totals) -> bool:
        """One update of the weights; False if it was skipped for a loss or gradient that is not finite."""
        recipe, accelerator = self.config.recipe, self.accelerator
        figures: dict[str, float] = {}
        for part in range(recipe.accumulate):
            begun = time.perf_counter()
            audio = next(batches).to(accelerator.device, non_blocking=True)
            totals.waited += time.perf_counter() - begun
            last = part == recipe.accumulate - 1
            with nullcontext() if last else accelerator.no_sync(self.training):
                losses = self.training(audio, *self.draw(part))
                accelerator.backward(losses.loss / recipe.accumulate)
            for name, value in {"loss": losses.loss, **losses.figures}.items():
                figures[name] = figures.get(name, 0.0) + value.item() / recipe.accumulate
        # Between items, not along time: a collapsed encoder gives every item the same latents.
        figures["latent_spread"] = losses.latents.std(dim=0, correction=0).mean().item()
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
        self.schedule.step()
        self.iteration += 1
        self.num_seen += recipe.batch_size
        return good


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM end up in the list, to be looked at after each iteration, instead of breaking into one."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda n, _: received.append(n)) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _leave_signals_to_the_run(_: int) -> None:
    """In a process that reads data: Ctrl-C and schedulers signal the whole group, and the run still wants to save."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def make_accelerator(recipe: Recipe) -> Accelerator:
    """Accelerate's view of this process: device, precision, its place among the others.

    Raises:
        InputError: fp16 without a device that has it.
    """
    from accelerate import Accelerator

    if recipe.precision == "fp16" and not torch.cuda.is_available():
        raise InputError("precision = fp16 needs CUDA; use --set precision=bf16, or =no for float32")
    return Accelerator(mixed_precision=recipe.precision)


def train(
    config: TrainingConfig,
    data: list[tuple[Path, float]],
    output: Path,
    *,
    validation: Path | None = None,
    init_from: str | None = None,
    max_minutes: float | None = None,
    cache: Path | None = None,
) -> int:
    """Train until the schedule ends, the time is up, or a signal comes; returns the iteration reached.

    Run again with the same arguments, it goes on where it stopped, and ends with the weights of a straight run.

    Args:
        config: model and recipe.
        data: folders of audio, each with its weight.
        output: the run folder.
        validation: a folder of audio to measure and listen to now and then.
        init_from: a model (any name of `load_checkpoint`) to start from; ignored by a run that is resumed.
        max_minutes: stop cleanly, with a checkpoint, after so long.
        cache: a folder for the data as int16 samples (`cache_audio`); crops are then read from there.

    Raises:
        InputError: a missing package, unusable data, a folder of another run, a full disk, or a loss that stays not
            finite.
    """
    require("train")
    begun = time.monotonic()
    keep_freed_memory()
    accelerator = make_accelerator(config.recipe)
    main = accelerator.is_main_process
    with locked(output) if main else nullcontext(), stop_signals() as stop:
        with accelerator.main_process_first():  # the others read its index
            folders = [index_folder(folder, weight, output) for folder, weight in data]
            if cache:
                folders = [cache_audio(folder, config.model.sample_rate, cache) for folder in folders]
            held = index_folder(validation, 1.0, output) if validation else None
        run = Run(config, folders, output, accelerator)
        if not run.resume() and init_from:
            run.start_from(init_from)
        if main:
            write_run(output, config, data)
        checks = Validation(held, config) if held else None
        _loop(run, checks, stop, None if max_minutes is None else begun + 60 * max_minutes)
        accelerator.end_training()
    return run.iteration


def _loop(run: Run, checks: Validation | None, stop: list[int], deadline: float | None) -> None:
    recipe, batches, bad = run.config.recipe, run.batches(), 0
    totals = Totals(begun=time.perf_counter())
    with Log(run.folder, recipe.iterations, run.iteration, enabled=run.accelerator.is_main_process) as log:
        while run.iteration < recipe.iterations:
            bad = 0 if run.iterate(batches, totals) else bad + 1
            totals.bad += bad > 0
            log.advance(run.iteration, recipe.batch_size)
            if bad >= recipe.max_bad_iterations:
                raise InputError(
                    f"stopped at iteration {run.iteration}: {bad} iterations in a row had a loss or gradient that is "
                    "not finite; last.pt is from before. Lower lr, or use precision=bf16"
                )
            if run.iteration % recipe.log_every == 0 and totals.iterations:
                log.write(run.iteration, run.num_seen, totals, recipe.batch_size)
                if totals.sums and totals.sums["latent_spread"] / totals.iterations < COLLAPSED:
                    logger.warning(
                        "iteration %d: the latents hardly differ between items; the encoder has collapsed. "
                        "Lower lr, or set init = variance_preserving",
                        run.iteration,
                    )
                totals = Totals(begun=time.perf_counter())
            out_of_time = deadline is not None and time.monotonic() > deadline
            ending = bool(stop) or out_of_time or run.iteration == recipe.iterations
            if run.accelerator.num_processes > 1:  # all end together, or the rest would wait for ever
                flag = torch.tensor(float(ending), device=run.accelerator.device)
                ending = bool(run.accelerator.reduce(flag, "sum").item())
            if bad == 0 and (ending or run.iteration % recipe.save_every == 0):
                if run.accelerator.is_main_process:
                    run.write("last.pt")
                run.accelerator.wait_for_everyone()
            if checks and (run.iteration % recipe.validate_every == 0 or run.iteration == recipe.iterations):
                _validate(run, checks, log)
            if ending:
                break


def _validate(run: Run, checks: Validation, log: Log) -> None:
    if run.accelerator.is_main_process:
        result = checks.measure(cast(Autoencoder, run.ema.module))
        log.validation(run.iteration, result, run.config.model)
        better = result.metrics["log_spectral_distance"] < run.best
        run.best = min(run.best, result.metrics["log_spectral_distance"])
        if better:
            run.write("best.pt")
    run.accelerator.wait_for_everyone()
