"""The training loop, and what surrounds it: data, signals, checkpoints, validations."""

from __future__ import annotations

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from ..autoencoder import Autoencoder
from ..devices import keep_freed_memory, resolve_device, resolve_dtype
from ..errors import InputError
from ..extras import require
from ..pretrained import load_checkpoint
from .config import Recipe, TrainingConfig
from .data import AudioFolder, cache_audio, index_folder
from .folder import Origin, locked, read_run, write_run
from .log import Log, Totals, duration
from .run import Run
from .validation import Validation

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)

COLLAPSED = 0.02
"""Spread of the latents between items below which the encoder no longer looks at its input."""
STOPPING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@contextmanager
def stop_signals(say: Callable[[str], None]) -> Iterator[list[int]]:
    """Ctrl-C, SIGTERM and SIGHUP end up in the list, to be looked at after each iteration, instead of breaking into
    one. A signal that is ignored stays so (nohup), and outside of the main thread there are none."""
    received: list[int] = []

    def receive(number: int, _: object) -> None:
        received.append(number)
        if len(received) == 1:
            with suppress(OSError, RuntimeError):  # a closed terminal; a line that was being written just now
                say("stopping: this iteration is finished and saved")

    numbers = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = [signal.signal(number, receive) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def make_accelerator(recipe: Recipe) -> Accelerator:
    """Accelerate's view of this process: device, precision, its place among the others.

    Raises:
        InputError: fp16 without a device that has it.
    """
    from accelerate import Accelerator

    cuda, precision = torch.cuda.is_available(), recipe.precision
    if precision == "auto":
        fast = resolve_dtype("auto", resolve_device(None))
        precision = "bf16" if fast == torch.bfloat16 else "fp16" if cuda else "no"
    if precision == "fp16" and not cuda:
        raise InputError("precision = fp16 needs CUDA; use --set precision=auto")
    return Accelerator(mixed_precision=precision)


def train(
    config: TrainingConfig,
    data: Sequence[tuple[str | PathLike[str], float]],
    output: str | PathLike[str],
    *,
    validation: str | PathLike[str] | None = None,
    init_from: str | None = None,
    max_minutes: float | None = None,
    cache: str | PathLike[str] | None = None,
    say: Callable[[str], None] = logger.info,
) -> int:
    """Train until the schedule ends, the time is up, or a signal comes; returns the iteration reached.

    Run again with the same arguments, it goes on where it stopped, and ends with the weights of a straight run.
    `export_weights` makes a model of the run folder. Fine-tuning the bundled model on a folder:

        from music2latent.training.config import load_config
        from music2latent.training.export import export_weights
        from music2latent.training.loop import train

        train(load_config("finetune"), [("clips", 1.0)], "run", init_from="mini", say=print)
        export_weights("run", "mine.safetensors")

    Args:
        config: model, recipe and objectives, as `load_config` gives them.
        data: folders of audio, each with its weight: how often crops come from it, relative to the others.
        output: the run folder.
        validation: a folder of audio to measure and listen to now and then.
        init_from: a model (any name of `load_checkpoint`) to start from; ignored by a run that is resumed.
        max_minutes: stop cleanly, with a checkpoint, after so long.
        cache: a folder for the data as int16 samples (`cache_audio`); crops are then read from there.
        say: told what is going on, a line at a time.

    Raises:
        InputError: a missing package, unusable data, a folder of another run, a full disk, or a loss that stays not
            finite.
    """
    require("train")
    if max_minutes is not None and not 0 <= max_minutes < math.inf:
        raise InputError(f"max_minutes = {max_minutes}; accepted: 0 or more")
    begun, output = time.monotonic(), Path(output)
    keep_freed_memory()
    accelerator = make_accelerator(config.recipe)
    main = accelerator.is_main_process
    with locked(output) if main else nullcontext():
        log = Log(output, config.recipe.iterations, say, enabled=main)
        before = read_run(output) if (output / "run.json").exists() else None
        start = load_checkpoint(init_from) if init_from and not (output / "last.pt").exists() else None
        with accelerator.main_process_first():  # the others read its index
            folders = [_audio(folder, weight, output, log) for folder, weight in data]
            if cache:
                log.say(f"reading all of it into {cache}, where that was not done before")
                folders = [cache_audio(folder, config.model.sample_rate, Path(cache)) for folder in folders]
            held = _audio(validation, 1.0, output, log) if validation else None
        run = Run(config, folders, output, accelerator)
        origin = None
        if run.resume():
            origin = before.origin if before else None
        elif start:
            run.start_from(start)
            origin = Origin.of(start)
        if main:
            write_run(output, config, [(Path(folder), weight) for folder, weight in data], origin)
        checks = Validation(held, config) if held else None
        _describe(run, log)
        deadline = math.inf if max_minutes is None else begun + 60 * max_minutes
        with stop_signals(log.say) as stop, log.writing(run.iteration):
            _loop(run, checks, log, lambda: bool(stop) or time.monotonic() > deadline)
        accelerator.end_training()
    return run.iteration


def _audio(folder: str | PathLike[str], weight: float, output: Path, log: Log) -> AudioFolder:
    found = index_folder(Path(folder), weight, output, log.say)
    log.say(f"{folder}: {duration(3600 * found.hours)} of audio")
    return found


def _describe(run: Run, log: Log) -> None:
    recipe, seconds = run.config.recipe, run.config.crop_samples / run.config.model.sample_rate
    device, precision = run.accelerator.device, run.accelerator.mixed_precision
    start = f"going on from iteration {run.iteration}" if run.iteration else "beginning"
    log.say(
        f"{run.model.num_parameters / 1e6:.1f} M parameters on {device}, precision {precision}; {recipe.iterations} "
        f"iterations of {recipe.batch_size} crops of {seconds:.2f} s; {start}; the first iteration takes "
        "longer. Ctrl-C stops and saves"
    )
    if precision == "bf16" and resolve_dtype("auto", device) != torch.bfloat16:
        log.say("this hardware multiplies no bfloat16 and takes many times as long; choose precision = auto")


def _loop(run: Run, checks: Validation | None, log: Log, asked_to_stop: Callable[[], bool]) -> None:
    recipe, bad, totals, ending = run.config.recipe, 0, Totals(), False
    with closing(run.batches()) as batches:
        while not ending:
            # Before the next iteration: a run that was stopped since the last one makes up for it when it goes on.
            ended = run.iteration >= recipe.iterations
            if checks and (run.iteration or run.tuned) and (ended or run.iteration % recipe.validate_every == 0):
                began = time.perf_counter()
                _validate(run, checks, log)
                totals.begun += time.perf_counter() - began  # no time of training
            if ended:
                break
            good = run.iterate(batches, totals)
            bad = 0 if good else bad + 1
            totals.bad += not good
            log.advance(run.iteration, recipe.batch_size, totals)
            if bad >= recipe.max_bad_iterations:
                raise InputError(
                    f"stopped at iteration {run.iteration}: {bad} iterations in a row had a loss or gradient that is "
                    "not finite; last.pt is from before. Lower lr, or use precision=bf16"
                )
            if run.iteration % recipe.log_every == 0 and totals.sums:
                log.write(run.iteration, run.num_seen, totals, recipe.batch_size)
                spread = totals.sums["latent_spread"] / totals.iterations
                if run.accelerator.is_main_process and recipe.batch_size > 1 and spread < COLLAPSED:
                    logger.warning(
                        "iteration %d: the latents hardly differ between items; the encoder has collapsed. "
                        "Lower lr, or set init = variance_preserving",
                        run.iteration,
                    )
                totals = Totals()
            ending = asked_to_stop()
            if run.accelerator.num_processes > 1:  # all end together, or the rest would wait for ever
                flag = torch.tensor(float(ending), device=run.accelerator.device)
                ending = bool(run.accelerator.reduce(flag, "sum").item())
            last = run.iteration == recipe.iterations
            if ending or last or (bad == 0 and run.iteration % recipe.save_every == 0):
                if run.accelerator.is_main_process:
                    run.write("last.pt")
                run.accelerator.wait_for_everyone()


def _validate(run: Run, checks: Validation, log: Log) -> None:
    if run.accelerator.is_main_process:
        log.say(f"iteration {run.iteration}: validating")
        result = checks.measure(cast(Autoencoder, run.ema.module))
        log.validation(run.iteration, result, run.config.model)
        distance = result.metrics["log_spectral_distance"]
        better = distance < run.best
        run.best = min(run.best, distance)
        log.say(f"iteration {run.iteration}: log-spectral distance {distance:.2f} dB{', the best so far' * better}")
        if better:
            run.write("best.pt")
    run.accelerator.wait_for_everyone()
