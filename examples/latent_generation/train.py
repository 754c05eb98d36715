"""Trains the flow on a data set of latents. The same command again goes on where it was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from accelerate import Accelerator, skip_first_batches
from flow import Flow, flow_loss
from settings import LAST, Config, command, read_run
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, DistributedSampler

from music2latent import InputError
from music2latent.dataset import LatentDataset, collate
from music2latent.files import replacing
from music2latent.training.folder import locked

VALIDATION_CROPS = 64


def open_data(path: Path, config: Config, model: dict[str, Any] | None, statistics: Any) -> LatentDataset:
    """Crops of a data set, of one channel at a time; its model and statistics are the run's, where there are any.

    Raises:
        InputError: no data set, or not of latents, or of another model.
    """
    chosen = {"length": config.window, "channels": "random", "seed": config.seed, "statistics": statistics}
    data = LatentDataset(path, **chosen)
    origin = data[0].origin
    if origin.features:
        raise InputError(f"{path}: the encoder's features; expected latents, encode without --features")
    if model and model != facts(data):
        raise InputError(f"{path}: of the model {facts(data)}, not {model} as before; encode with that one")
    return data


def facts(data: LatentDataset) -> dict[str, Any]:
    """What has to be known to decode latents like these."""
    origin = data[0].origin
    return {name: getattr(origin, name) for name in ("model_id", "fingerprint", "coding_rate", "frame_size", "edge")}


def loader(data: LatentDataset, config: Config) -> DataLoader[Any]:
    """Batches of shuffled items, a crop of each; `set_epoch` of its sampler and of the data set take others."""
    return DataLoader(
        data,
        config.batch_size,
        sampler=DistributedSampler(data, num_replicas=1, rank=0, seed=config.seed),  # Accelerate shares batches out
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
        collate_fn=collate,
        drop_last=True,
    )


def batches(prepared: Any, plain: DataLoader[Any], step: int) -> Iterator[dict[str, Any]]:
    """Batches from a step on, without an end; which ones, follows from the step alone."""
    while True:
        epoch, done = divmod(step, len(prepared))
        plain.dataset.set_epoch(epoch)
        plain.sampler.set_epoch(epoch)
        for batch in skip_first_batches(prepared, done) if done else prepared:
            yield batch
            step += 1


def drawn(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers alone: there is no state to save."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1))


@torch.no_grad()
def validate(model: torch.nn.Module, crops: dict[str, Any], device: torch.device) -> float:
    """The loss over crops that are not trained on, always of the same noise."""
    return flow_loss(model, crops["latents"].to(device), crops["padding_mask"].to(device), drawn(0)).item()


def train(data: Path, output: Path, config: Config, validation: Path | None = None) -> None:
    """Train until `config.steps`, from RUN/last.pt on if there is one; losses go to RUN/losses.jsonl.

    Raises:
        InputError: data that cannot be used, or a run of another configuration.
    """
    before = read_run(output) if (output / LAST).exists() else {}
    if before and before["config"] != asdict(config):
        other = [f"{k} was {v}, now {asdict(config)[k]}" for k, v in before["config"].items() if v != asdict(config)[k]]
        raise InputError(f"{output}: a run of another configuration ({'; '.join(other)}); choose another --output")
    accelerator = Accelerator(mixed_precision="bf16" if config.bf16 else "no")
    training = open_data(data, config, before.get("model"), before.get("statistics"))
    if len(training) < config.batch_size * accelerator.num_processes:
        raise InputError(
            f"{data}: {len(training)} items, fewer than the {config.batch_size * accelerator.num_processes} of a step; "
            "lower batch_size, or encode with --crop-seconds 30, which makes more of them"
        )
    model_facts, statistics = facts(training), training.statistics
    crops = None
    if validation:
        held_out = open_data(validation, config, model_facts, statistics)
        items = []
        for number in range(VALIDATION_CROPS):
            held_out.set_epoch(number // len(held_out))
            items.append(held_out[number % len(held_out)])
        crops = collate(items)

    torch.manual_seed(config.seed)
    flow = Flow(training[0].latents.shape[0], config.width, config.depth, config.heads).to(accelerator.device)
    ema = AveragedModel(flow, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
    optimizer = torch.optim.AdamW(flow.parameters(), lr=config.lr, betas=(0.9, 0.99), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.lr, total_steps=config.steps + 1, pct_start=0.02, cycle_momentum=False
    )
    parts = {"flow": flow, "ema": ema, "optimizer": optimizer, "schedule": schedule}
    for name, part in parts.items() if before else ():
        part.load_state_dict(before[name])
    step = before.get("step", 0)
    plain = loader(training, config)
    wrapped, prepared_optimizer, prepared = accelerator.prepare(flow, optimizer, plain)
    source = batches(prepared, plain, step)

    losses, begun = [], time.perf_counter()
    while step < config.steps:
        batch = next(source)
        generator = drawn(config.seed, step, accelerator.process_index)
        loss = flow_loss(wrapped, batch["latents"], batch["padding_mask"], generator)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(flow.parameters(), config.clip_norm)
        prepared_optimizer.step()
        prepared_optimizer.zero_grad()
        schedule.step()
        ema.update_parameters(flow)
        losses.append(loss.detach())
        step += 1
        if (step % config.save_every == 0 or step == config.steps) and accelerator.is_main_process:
            line = {"step": step, "loss": torch.stack(losses).mean().item()}
            if crops:
                line["validation_loss"] = validate(ema, crops, accelerator.device)
            line["seconds_per_step"] = (time.perf_counter() - begun) / len(losses)
            save(output, line, {name: part.state_dict() for name, part in parts.items()}
                | {"config": asdict(config), "model": model_facts, "statistics": statistics, "step": step})
            accelerator.print(", ".join(f"{name} {value:.4g}" for name, value in line.items()))
            losses, begun = [], time.perf_counter()


def save(output: Path, line: dict[str, float], state: dict[str, Any]) -> None:
    """Write the checkpoint, whole or not at all, and the line of losses."""
    with replacing(output / LAST) as partial:
        torch.save(state, partial)
    with (output / "losses.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def main(
    data: Annotated[Path, typer.Argument(help="A data set, as music2latent dataset encode makes it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    config: Annotated[Path | None, typer.Option(help="Settings in TOML; without, the tiny size.")] = None,
    validation: Annotated[Path | None, typer.Option(help="A data set of other recordings, to measure on.")] = None,
) -> None:
    """Train a rectified flow on a data set of latents, or go on with a run."""
    settings = Config.read(config)
    with locked(output):
        train(data, output, settings, validation)


if __name__ == "__main__":
    command(main)
