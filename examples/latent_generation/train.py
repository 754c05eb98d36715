"""Trains the flow on a data set of latents. The same command again goes on where it was stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from accelerate import Accelerator, skip_first_batches
from flow import Flow, flow_loss
from settings import LAST, Config, command, read_run
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader, DistributedSampler

from music2latent import InputError
from music2latent.dataset import LatentDataset, collate
from music2latent.files import replacing


def open_data(path: Path, config: Config, before: dict[str, Any]) -> tuple[LatentDataset, dict[str, Any]]:
    """Crops of a data set, of one audio channel each, and their origin: that of `before`, if it is not empty.

    Raises:
        InputError: no data set, not of latents, or of another model than before.
    """
    statistics = before.get("statistics")
    data = LatentDataset(path, length=config.window, channels="random", seed=config.seed, statistics=statistics)
    names = ("model_id", "fingerprint", "coding_rate", "frame_size", "edge")
    model = {name: getattr(data[0].origin, name) for name in names}
    if data[0].origin.features:
        raise InputError(f"{path}: the encoder's features, which cannot be decoded; encode without --features")
    if model != before.get("model", model):
        raise InputError(f"{path}: latents of {model}; expected those of {before['model']}, as before")
    return data, {"model": model, "statistics": data.statistics}


def batches(
    data: LatentDataset, config: Config, step: int, accelerator: Accelerator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Latents `[B, D, L]` and `[B, L]` which of them are real, from a step on: shuffled items, a crop of each."""
    order: DistributedSampler[Any] = DistributedSampler(data, 1, 0, seed=config.seed)  # Accelerate shares batches out
    size, workers = config.batch_size, config.workers
    loader = DataLoader(
        data, size, sampler=order, num_workers=workers, persistent_workers=workers > 0, collate_fn=collate
    )
    shared = accelerator.prepare(loader)
    while True:
        epoch, done = divmod(step, len(shared))
        following = skip_first_batches(shared, done) if done else shared
        following.set_epoch(epoch)  # Accelerate's own count, from which it sets the sampler's
        order.set_epoch(epoch)
        data.set_epoch(epoch)
        for batch in following:
            yield batch["latents"], batch["padding_mask"]
            step += 1


def drawn(*numbers: int) -> torch.Generator:
    """A generator that depends on these numbers alone, so that there is no state to save."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))


def parts_of(config: Config, latent_dim: int, device: torch.device) -> dict[str, Any]:
    """What training changes."""
    torch.manual_seed(config.seed)
    flow = Flow(latent_dim, config.width, config.depth, config.heads).to(device)
    optimizer = torch.optim.AdamW(flow.parameters(), config.lr, betas=(0.9, 0.99), weight_decay=0.01)
    return {
        "flow": flow,
        "ema": AveragedModel(flow, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)),
        "optimizer": optimizer,
        "schedule": OneCycleLR(optimizer, config.lr, config.steps + 1, pct_start=0.02, cycle_momentum=False),
    }


def train(data: Path, output: Path, config: Config, validation: Path | None = None) -> None:
    """Train until `config.steps`, from where the run in this folder was stopped.

    Raises:
        InputError: data that cannot be used, or a run of other settings.
    """
    before, settings = read_run(output) if (output / LAST).exists() else ({}, config)
    old, new = asdict(settings), asdict(config)
    if other := [f"{name} was {old[name]}, now {new[name]}" for name in old if old[name] != new[name]]:
        raise InputError(f"{output}: a run of other settings: {'; '.join(other)}; choose another --output")
    accelerator = Accelerator(mixed_precision="bf16" if config.bf16 else "no")
    crops, origin = open_data(data, config, before)
    held_out = batches(open_data(validation, config, origin)[0], config, 0, accelerator) if validation else iter(())
    measured = list(islice(held_out, 8))
    parts = parts_of(config, crops[0].latents.shape[0], accelerator.device)
    for name, part in parts.items() if before else ():
        part.load_state_dict(before[name])
    start, losses, begun = before.get("step", 0), [], time.perf_counter()
    flow, optimizer = accelerator.prepare(parts["flow"], parts["optimizer"])
    source = batches(crops, config, start, accelerator)
    for step, (latents, real) in zip(range(start + 1, config.steps + 1), source, strict=False):
        loss = flow_loss(flow, latents, real, drawn(config.seed, step, accelerator.process_index))
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parts["flow"].parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        parts["schedule"].step()
        parts["ema"].update_parameters(parts["flow"])
        losses.append(loss.detach())
        if step % config.save_every == 0 or step == config.steps:
            figures = {"step": step, "loss": torch.stack(losses).mean().item()}
            figures["seconds_per_step"] = (time.perf_counter() - begun) / len(losses)
            if measured:
                figures["validation_loss"] = validate(parts["ema"], measured)
            if accelerator.is_main_process:
                save(output, figures, parts, origin | {"config": new, "step": step})
            losses, begun = [], time.perf_counter()


@torch.no_grad()
def validate(flow: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """The mean loss of these batches, always with the same noise."""
    return sum(flow_loss(flow, *batch, drawn(number)).item() for number, batch in enumerate(batches)) / len(batches)


def save(output: Path, figures: dict[str, float], parts: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write the checkpoint, whole or not at all, and a line of losses."""
    with replacing(output / LAST) as partial:
        torch.save({name: part.state_dict() for name, part in parts.items()} | facts, partial)
    with (output / "losses.jsonl").open("a") as file:
        file.write(json.dumps(figures) + "\n")
    print(", ".join(f"{name} {value:.4g}" for name, value in figures.items()), flush=True)


def main(
    data: Annotated[Path, typer.Argument(help="A data set, as music2latent dataset encode makes it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    config: Annotated[Path | None, typer.Option(help="Settings in TOML; without, the tiny size.")] = None,
    validation: Annotated[Path | None, typer.Option(help="A data set of other recordings, to measure on.")] = None,
) -> None:
    """Train a rectified flow on a data set of latents, or go on with a run."""
    train(data, output, Config.read(config), validation)


if __name__ == "__main__":
    command(main)
