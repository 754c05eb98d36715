"""Where do decoders lose the music's fine structure? python scripts/drawn.py CORPUS [--model mini ...]

Of held-out crops: the shares of variance of the spectrogram's levels, and of their fine structure, that are told by a
linear map of each place of the upsampler's finest maps, of the levels of the denoiser's output, and of those of the
audio made of it. The output and its audio differ where phases of neighbouring columns do not fit together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer
from known import crops
from torch import Tensor

from music2latent import spectrogram
from music2latent.devices import keep_freed_memory
from music2latent.pretrained import load_model
from music2latent.training.config import TrainingConfig
from music2latent.training.objectives.linear_readout import LinearReadout
from music2latent.training.objectives.pyramid import column_levels, partials


def share(found: Tensor, wanted: Tensor) -> str:
    """Of the variance that is told."""
    return f"{100 * (1 - float((found - wanted).square().mean() / (wanted - wanted.mean()).square().mean())):.1f} %"


@torch.no_grad()
def main(
    corpus: Annotated[Path, typer.Argument(help="What scripts/corpus.py built.")],
    models: Annotated[list[str] | None, typer.Option("--model", help="Whose decoder; mini by default.")] = None,
    count: Annotated[int, typer.Option(help="Crops that maps are fitted to, and as many that are held out.")] = 128,
) -> None:
    """Print a Markdown table."""
    keep_freed_memory()
    print("| levels from | levels | fine structure |\n|---|---:|---:|")
    for name in models or ["mini"]:
        model = load_model(name)
        config, edge = TrainingConfig(model=model.config), model.config.edge
        told: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
        maps: dict[str, LinearReadout] = {}
        for folder, held_out in (("train/music", False), ("validation/music", True)):
            for number, audio in enumerate(
                crops(corpus / folder, count, model.config.sample_rate, config.crop_samples).split(8)
            ):
                x = spectrogram.spectrogram(audio, model.config.hop_length)
                noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(number))
                pyramid = model.decoder(model.encoder(x))
                level = noise.new_full((len(noise),), model.config.sigma_max)
                output = model.denoise(model.config.sigma_max * noise, level, pyramid)
                heard = spectrogram.inverse(output)
                # where nothing fades
                inner, skipped = slice(edge, -edge), edge // model.config.hop_length
                wanted = column_levels(spectrogram.spectrogram(audio[:, inner], model.config.hop_length))
                columns = slice(skipped, skipped + wanted.shape[3])
                again = spectrogram.spectrogram(heard[:, inner], model.config.hop_length)
                sources = {
                    "upsampler": pyramid[0][..., columns],
                    "output": column_levels(output[..., columns]),
                    "audio": column_levels(again),
                }
                for source, found in sources.items():
                    readout = maps.setdefault(source, LinearReadout(found.shape[1], 1))
                    answer = readout(found, wanted)
                    if held_out:
                        readout.forget()
                        parts = told.setdefault(source, ([], []))
                        parts[0].append(answer)
                        parts[1].append(wanted)
            for readout in maps.values():
                if not held_out:
                    readout.learn()
        for source, parts in told.items():
            found, wanted = map(torch.cat, parts)
            print(
                f"| {name}, {source} | {share(found, wanted)} | {share(partials(found), partials(wanted))} |",
                flush=True,
            )


if __name__ == "__main__":
    typer.run(main)
