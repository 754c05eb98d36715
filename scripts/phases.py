"""What are exact levels worth without phases, and the other way round? python scripts/phases.py CORPUS

Held-out music, put together from a part of what is known of it, and what tonal figures say of that (`evaluation`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
import typer
from known import crops
from torch import Tensor

from music2latent import spectrogram
from music2latent.config import PRESETS, ModelConfig
from music2latent.evaluation.metrics import METRICS
from music2latent.evaluation.sound import Sound
from music2latent.nn.tones import draw
from music2latent.pretrained import load_model
from music2latent.training.objectives.tones import tone_levels

SHOWN = "chroma_cosine", "constant_q_difference", "spectral_convergence", "log_spectral_distance", "mel_distance"
AROUND = 25
"""Bins that magnitudes are averaged over, some 500 Hz."""


def put_together(audio: Tensor, config: ModelConfig) -> dict[str, Tensor]:
    """Audio `[B, n]` by what is known of the original."""
    x = torch.view_as_complex(spectrogram.spectrogram(audio, config.hop_length).permute(0, 2, 3, 1).contiguous())
    levels, phases = x.abs(), x.angle()
    batch, bins, columns = x.shape
    random = torch.Generator().manual_seed(0)
    steady = 2 * math.pi * torch.rand(batch, bins, 1, generator=random)
    steady = steady + math.pi / 2 * (torch.arange(bins)[:, None] * torch.arange(columns) % 4)
    size = AROUND, config.columns_per_latent + 1
    pad = [(length // 2,) * 2 for length in reversed(size)]
    smooth = F.avg_pool2d(F.pad(levels[:, None], sum(pad, ()), mode="reflect"), size, 1)[:, 0]
    known = {
        "levels of each bin and column, random phases": (levels, 2 * math.pi * torch.rand(x.shape, generator=random)),
        "the same, a steady phase in each bin": (levels, steady.expand_as(levels)),
        f"phases, and levels averaged over {AROUND} bins and a latent": (smooth, phases),
    }
    parts = {name: torch.view_as_real(torch.polar(*one)).permute(0, 3, 1, 2) for name, one in known.items()}
    parts["levels of tones, one for each latent"] = draw(10 ** (tone_levels(audio, config) / 2), config.n_fft)
    return {name: spectrogram.inverse(one) for name, one in parts.items()}


@torch.no_grad()
def main(
    corpus: Annotated[Path, typer.Argument(help="What scripts/corpus.py built.")],
    model: Annotated[str, typer.Option(help="A model to compare with.")] = "mini",
    count: Annotated[int, typer.Option(help="Excerpts.")] = 12,
    seconds: Annotated[float, typer.Option(help="Of each.")] = 6.0,
) -> None:
    """Print a Markdown table."""
    config = PRESETS["mini"]
    frames = math.ceil(seconds * config.frame_rate)
    samples = frames * config.frame_size + config.edge
    audio = crops(corpus / "validation/music", count, config.sample_rate, samples)
    net = load_model(model)
    x = spectrogram.spectrogram(audio, config.hop_length)
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    latents = net.encoder(x)
    made = {model: spectrogram.inverse(net.decode(latents, lambda step: noise))}
    if net.decoder.tones:
        made[f"{model}, its tones alone"] = spectrogram.inverse(net.decoder.tones(latents))
    made |= put_together(audio, config)
    chosen = [METRICS[name] for name in SHOWN]
    print(f"| known | {' | '.join(metric.heading for metric in chosen)} |\n|---|{'---:|' * len(chosen)}")
    inner = slice(config.edge, -config.edge)
    originals = [Sound(one[None, inner], config.sample_rate) for one in audio]
    for name, sounds in made.items():
        found = [Sound(one[None, inner], config.sample_rate) for one in sounds]
        means = [sum(map(metric.measure, found, originals)) / count for metric in chosen]
        print(f"| {name} | {' | '.join(f'{mean:.3f}' for mean in means)} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
