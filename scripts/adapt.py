"""From an encoder with new features to an autoencoder that uses them, in closed form:

python scripts/adapt.py MODEL.safetensors ADAPTED.safetensors --data CORPUS/train/music --data SCORES=0.2

Of some thousand crops, what latents are to tell (levels of narrow bands and their fine structure, of coarse bands in
every column, of tones, and a teacher's latents) is regressed on the encoder's features. The principal components of
what the regression says are the latents (reduced-rank regression, Izenman 1975): no others of their number, made
linearly, tell more. They are put into the encoder's bottleneck exactly. A regression of the teacher's latents on them
goes into the first layer of the teacher's decoder, which is linear, and one of the tones' levels into its tones.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track
from sklearn.linear_model import Ridge
from torch import Tensor, nn

from music2latent import spectrogram
from music2latent.autoencoder import Autoencoder
from music2latent.checkpoint import write_safetensors
from music2latent.config import ModelConfig, norm_groups
from music2latent.covariance import effective_dimension
from music2latent.devices import keep_freed_memory
from music2latent.nn.encoder import Encoder
from music2latent.nn.layers import ResBlock
from music2latent.pretrained import load_checkpoint, load_model
from music2latent.training.config import TrainingConfig
from music2latent.training.data import index_folder, parse_folder
from music2latent.training.objectives.distillation import untold
from music2latent.training.objectives.readout import fine_structure, readable_levels
from music2latent.training.objectives.tones import AROUND, tone_levels
from music2latent.training.run import training_crops

RIDGE = 3e-3
"""Relative to the mean variance of what is regressed on."""
SPREAD = 0.35
"""Standard deviation of latents: where tanh is nearly linear, yet uses its range."""
STEADY = 20.0
"""What normalisation is made nearly constant with; relative to the latents' standard deviation."""
PARTS = {"bands": 1.0, "fine": 10.0, "columns": 1.0, "tones": 0.3, "fine tones": 3.0}
"""Weights of the mean squares of what is told, beside the teacher's latents."""


def targets(audio: Tensor, old: Tensor, config: ModelConfig) -> dict[str, Tensor]:
    """Of crops `[B, n]` and the teacher's latents `[B, D, L]`, rows of all latents by part, `[B L, ...]`."""
    bands, columns = readable_levels(audio, config)
    tones = tone_levels(audio, config).transpose(1, 2)
    parts = {"bands": bands, "fine": fine_structure(bands), "columns": columns}
    parts |= {"tones": tones, "fine tones": fine_structure(tones, AROUND), "teacher": old.transpose(1, 2)}
    return {name: rows.flatten(0, 1) for name, rows in parts.items()}


def regression(inputs: Tensor, outputs: Tensor, ridge: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Rows `[N, D]` and `[N, K]` -> weights `[D, K]` and a bias `[K]`."""
    alpha = ridge * float((inputs - inputs.mean(0)).square().sum(0).mean())
    fitted = Ridge(alpha=alpha).fit(inputs.numpy(), outputs.numpy())
    return torch.from_numpy(fitted.coef_).T, torch.from_numpy(fitted.intercept_)


def components(inputs: Tensor, outputs: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """So many uncorrelated linear functions of the inputs, of variance 1, that tell most of the outputs: weights
    `[D, count]` and a bias `[count]`."""
    weights, _ = regression(inputs, outputs)
    said = inputs @ weights
    said -= said.mean(0)
    variances, directions = torch.linalg.eigh(said.T @ said / len(said))
    variances, directions = variances[-count:].flip(0), directions[:, -count:].flip(1)
    kept = weights @ (directions / variances.sqrt())
    return kept, -(inputs.mean(0) @ kept)


def parts_of(layer: nn.Module) -> tuple[Tensor, Tensor]:
    """A convolution's weight and bias."""
    assert isinstance(layer, nn.Conv1d)
    assert layer.bias is not None
    return layer.weight, layer.bias


@torch.no_grad()
def put_in(encoder: Encoder, weights: Tensor, bias: Tensor) -> None:
    """Make the bottleneck compute tanh(SPREAD * (features @ weights + bias)), all but exactly.

    Every value goes through the last normalisation and SiLU with both signs: silu(x) - silu(-x) = x. What each group is
    normalised by is kept nearly constant by channels that are, `STEADY`. The residual blocks begin with nothing.
    """
    first, *blocks = encoder.bottleneck_layers
    weight, offset = parts_of(first)
    width = len(offset)
    size = width // norm_groups(width)
    per_group = size // 4
    if len(bias) > per_group * (width // size):
        raise typer.BadParameter(f"{len(bias)} latents do not fit into a bottleneck of {width}")
    plus = torch.arange(len(bias))
    plus = plus // per_group * size + 2 * (plus % per_group)
    minus, steady = plus + 1, torch.ones(width, dtype=torch.bool)
    steady[plus] = steady[minus] = False
    weight.zero_()
    offset.zero_()
    for rows, sign in ((plus, 1), (minus, -1)):
        weight[rows, :, 0] = sign * weights.T
        offset[rows] = sign * bias
    offset[steady] = STEADY * (1 - 2 * (torch.arange(int(steady.sum())) % 2)).float()
    for block in blocks:
        assert isinstance(block, ResBlock)
        for parameter in block.conv2.parameters():
            parameter.zero_()
    used = 2 * per_group
    encoder.norm_out.weight.fill_(math.sqrt((STEADY**2 * (size - used) + used) / size))
    encoder.norm_out.bias.zero_()
    for parameter in encoder.conv_out.parameters():
        parameter.zero_()
    each = torch.arange(len(bias))
    encoder.conv_out.weight[each, plus, 0] = SPREAD
    encoder.conv_out.weight[each, minus, 0] = -SPREAD


@torch.no_grad()
def take_over(model: Autoencoder, teacher: Autoencoder, new: Tensor, old: Tensor) -> None:
    """Give the model the teacher's decoder behind the best linear map of latents, rows of each."""
    weights, bias = regression(new, old)
    own = {f"encoder.{key}": weight for key, weight in model.encoder.state_dict().items()}
    model.load_state_dict(teacher.state_dict() | own)
    weight, offset = parts_of(model.decoder.conv_inp)
    offset += weight[..., 0] @ bias
    weight.copy_((weight[..., 0] @ weights.T)[..., None])


def told(found: Tensor, wanted: Tensor) -> float:
    """The share of variance, of rows."""
    return 1 - float(untold(found, wanted))


def main(
    model: Annotated[str, typer.Argument(help="Whose encoder; trained with `features`.")],
    adapted: Annotated[Path, typer.Argument(help="Where the new model goes.")],
    data: Annotated[list[str], typer.Option(help="Training folders, FOLDER or FOLDER=WEIGHT.")],
    teacher: Annotated[str, typer.Option(help="Whose decoder.")] = "mini",
    keep: Annotated[float, typer.Option(help="Weight of the teacher's latents, relative to their variance.")] = 4.0,
    count: Annotated[int, typer.Option(help="Crops; one in eight is held out.")] = 5000,
) -> None:
    """Write the model, and print what its latents tell of the crops that are held out."""
    keep_freed_memory()
    checkpoint, net, old_net = load_checkpoint(model), load_model(model), load_model(teacher)
    config = net.config
    with tempfile.TemporaryDirectory() as work:
        drawn = training_crops(
            [index_folder(*parse_folder(folder), Path(work)) for folder in data], TrainingConfig(model=config)
        )
        audio = torch.stack([drawn[number].half() for number in track(range(count), "crops")])
    features, parts = [], []
    with torch.no_grad():
        for batch in track(audio.split(16), "features"):
            x = spectrogram.spectrogram(batch.float(), config.hop_length)
            features.append(net.encoder.features(x).transpose(1, 2).flatten(0, 1).half())
            parts.append(targets(batch.float(), old_net.encoder(x), config))
    known = torch.cat(features).float()
    wanted = {name: torch.cat([part[name] for part in parts]) for name in (*PARTS, "teacher")}
    kept = len(known) * 7 // 8
    weighted = PARTS | {"teacher": keep / float(wanted["teacher"].var())}
    scales = {name: math.sqrt(weight / wanted[name].shape[1]) for name, weight in weighted.items()}
    outputs = torch.cat([scales[name] * rows[:kept] for name, rows in wanted.items()], 1)
    weights, bias = components(known[:kept], outputs, config.latent_dim)
    put_in(net.encoder, weights, bias)
    with torch.no_grad():
        chunks = known.unflatten(0, (count, -1)).transpose(1, 2)
        latents = torch.cat([net.encoder.bottleneck(part) for part in chunks.split(100)])
    rows = latents.transpose(1, 2).flatten(0, 1)
    linear = torch.tanh(SPREAD * (known @ weights + bias))
    print(f"in the bottleneck as it was computed: {told(rows, linear):.1%}")
    for name, target in wanted.items():
        answer, offset = regression(rows[:kept], target[:kept], 1e-4)
        print(f"{name}: {told(rows[kept:] @ answer + offset, target[kept:]):.1%}")
    take_over(net, old_net, rows[:kept], wanted["teacher"][:kept])
    if net.decoder.tones:
        answer, offset = regression(rows[:kept], wanted["tones"][:kept], 1e-4)
        with torch.no_grad():
            for parameter, value in zip(parts_of(net.decoder.tones.levels), (answer.T[..., None], offset), strict=True):
                parameter.copy_(value)
    print(f"effective dimension {float(effective_dimension(latents)):.1f}")
    write_safetensors(
        adapted,
        dataclasses.replace(
            checkpoint,
            state_dict=net.state_dict(),
            latent_scale=float(latents.square().mean().sqrt()),
            latent_mean=tuple(latents.mean((0, 2)).tolist()),
            latent_std=tuple(latents.std((0, 2)).tolist()),
        ),
    )


if __name__ == "__main__":
    typer.run(main)
