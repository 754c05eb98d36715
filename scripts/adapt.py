"""From an encoder with new features to an autoencoder that uses them, in minutes, in what costs least:

python scripts/adapt.py MODEL.safetensors ADAPTED.safetensors --data CORPUS/train/music --data SCORES=0.2

The features of some thousand crops are computed once. On them the encoder's bottleneck learns what `readout`,
`dimension` and `distillation` ask for. A linear map from its latents to the teacher's then goes into the first layer of
the teacher's decoder, which is linear; and the decoder's deepest maps learn to hold what `features` asks of the
encoder's, while they stay near the teacher's.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track
from torch import Tensor, nn

from music2latent import spectrogram
from music2latent.autoencoder import Autoencoder
from music2latent.checkpoint import write_safetensors
from music2latent.devices import keep_freed_memory
from music2latent.pretrained import load_checkpoint, load_model
from music2latent.training.config import TrainingConfig
from music2latent.training.data import index_folder, parse_folder
from music2latent.training.objectives import Batch, Dimension, Features, Readout
from music2latent.training.objectives.distillation import untold
from music2latent.training.objectives.features import loss_of_places, place_levels
from music2latent.training.objectives.linear_readout import LinearReadout
from music2latent.training.run import training_crops

BATCH = 32
DISTILLATION, DIMENSION, NEAR = 4.0, 0.1, 0.5
"""Factors on the share of the teacher's latents that is lost, on `dimension`, and on that of its decoder's maps."""


def descend(weights: Iterable[nn.Parameter], iterations: int, what: str) -> Iterable[torch.optim.Optimizer]:
    """The optimizer, once per iteration, with a cosine schedule."""
    weights = [weight for weight in weights if weight.requires_grad]
    optimizer = torch.optim.RAdam(weights, lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations, 1e-5)
    for _ in track(range(iterations), what):
        optimizer.zero_grad()
        yield optimizer
        nn.utils.clip_grad_norm_(weights, 5.0)
        optimizer.step()
        schedule.step()


def train_bottleneck(model: Autoencoder, audio: Tensor, features: Tensor, old: Tensor, iterations: int) -> None:
    """The encoder's last layers, on stored features `[N, feature_dim, L]` and the teacher's latents `[N, D, L]`."""
    encoder, none = model.encoder, torch.empty(0)
    readout, dimension = Readout(), Dimension()
    readouts = {"readout": readout.head(model.config), "distillation": LinearReadout(old.shape[1], old.shape[1])}
    weights = nn.ModuleList([encoder.bottleneck_layers, encoder.norm_out, encoder.conv_out]).parameters()
    for _ in descend(weights, iterations, "bottleneck"):
        drawn = torch.randint(len(features), (BATCH,))
        latents = encoder.bottleneck(features[drawn].float())
        batch = Batch(
            model=model,
            audio=audio[drawn].float(),
            x=none,
            features=none,
            latents=latents,
            heads=readouts,
            sigma=none,
            sigma_next=none,
            noise=none,
        )
        missing = untold(readouts["distillation"](latents, old[drawn]), old[drawn])
        (readout(batch)[0] + DIMENSION * dimension(batch)[0] + DISTILLATION * missing).backward()
        for one in readouts.values():
            one.learn()


def take_over(model: Autoencoder, teacher: Autoencoder, new: Tensor, old: Tensor) -> float:
    """Give the model the teacher's decoder behind the best linear map of latents; returns the share that it tells."""
    readout = LinearReadout(new.shape[1], old.shape[1])
    readout(new, old)
    readout.learn()
    asked = torch.cat([new.new_zeros(1, new.shape[1], 1), torch.eye(new.shape[1])[None]], 2)
    mapped = readout(asked, torch.zeros_like(asked))[0]
    bias, columns = mapped[:, 0], mapped[:, 1:] - mapped[:, :1]
    own = {f"encoder.{key}": weight for key, weight in model.encoder.state_dict().items()}
    model.load_state_dict(teacher.state_dict() | own)
    first = model.decoder.conv_inp
    with torch.no_grad():
        first.bias += first.weight[..., 0] @ bias
        first.weight.copy_((first.weight[..., 0] @ columns)[..., None])
    return 1 - float(untold(readout(new, old), old))


def train_bottom(
    model: Autoencoder, teacher: Autoencoder, audio: Tensor, new: Tensor, old: Tensor, iterations: int
) -> None:
    """The decoder's first layers, on stored latents."""
    upsampler, config = model.decoder, model.config
    features = Features()
    readout = features.head(config)
    layers = nn.ModuleList([upsampler.conv_inp, upsampler.bottleneck_layers, upsampler.conv_out_bottleneck])
    for name, parameter in layers.named_parameters():
        parameter.requires_grad_(".proj_emb." not in name)  # which nothing uses
    for _ in descend(layers.parameters(), iterations, "decoder"):
        drawn = torch.randint(len(new), (BATCH,))
        with torch.no_grad():
            fine, coarse = place_levels(audio[drawn].float(), config)
            wanted = teacher.decoder.bottom_map(old[drawn])
        found = upsampler.bottom_map(new[drawn])
        loss = loss_of_places(readout, found, fine, coarse, features.fine)
        (loss + NEAR * untold(found, wanted)).backward()
        readout.learn()


def main(
    model: Annotated[str, typer.Argument(help="Whose encoder; trained with `features`.")],
    adapted: Annotated[Path, typer.Argument(help="Where the new model goes.")],
    data: Annotated[list[str], typer.Option(help="Training folders, FOLDER or FOLDER=WEIGHT.")],
    teacher: Annotated[str, typer.Option(help="Whose decoder.")] = "mini",
    count: Annotated[int, typer.Option(help="Crops.")] = 3000,
    iterations: Annotated[int, typer.Option(help="For the bottleneck; half as many for the decoder.")] = 1600,
) -> None:
    """Write the model, and print how much of the teacher's latents its own tell."""
    keep_freed_memory()
    torch.manual_seed(0)
    checkpoint, net, old_net = load_checkpoint(model), load_model(model), load_model(teacher)
    config = TrainingConfig(model=net.config)
    with tempfile.TemporaryDirectory() as work:
        crops = training_crops([index_folder(*parse_folder(folder), Path(work)) for folder in data], config)
        audio = torch.stack([crops[number].half() for number in track(range(count), "crops")])
    features, old = [], []
    with torch.no_grad():
        for part in track(audio.split(8), "features"):
            x = spectrogram.spectrogram(part.float(), net.config.hop_length)
            features.append(net.encoder.features(x).half())
            old.append(old_net.encoder(x))
    stored, old_latents = torch.cat(features), torch.cat(old)
    train_bottleneck(net, audio, stored, old_latents, iterations)
    with torch.no_grad():
        latents = torch.cat([net.encoder.bottleneck(part.float()) for part in stored.split(100)])
    told = take_over(net, old_net, latents, old_latents)
    print(f"told of the teacher's latents, of these crops: {100 * told:.1f} %")
    train_bottom(net, old_net, audio, latents, old_latents, iterations // 2)
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
