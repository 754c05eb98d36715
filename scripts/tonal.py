"""Tonal figures of models on excerpts of music, the same for all: python scripts/tonal.py FOLDER MODEL [MODEL ...]"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import torch
import typer
from diagnose import convergence, tonal

from music2latent import EncoderDecoder
from music2latent.stft import log_spectral_distance
from music2latent.training.data import Crops, index_folder
from music2latent.training.objectives.dimension import effective_dimension


def main(
    folder: Annotated[Path, typer.Argument(help="Audio that excerpts are taken from.")],
    models: Annotated[list[str], typer.Argument(help="Names or files.")],
    excerpts: Annotated[int, typer.Option(help="How many.")] = 12,
    seconds: Annotated[float, typer.Option(help="How long each is.")] = 6.0,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
) -> None:
    """Print a Markdown table: means over the excerpts."""
    with tempfile.TemporaryDirectory() as work:
        index = index_folder(folder, 1.0, Path(work))
        crops = Crops([index], 44100, round(44100 * seconds), seed=seed, min_rms=0.02)
        audio = [crops[number][None] for number in range(excerpts)]
    for number, name in enumerate(models):
        codec = EncoderDecoder(name)
        rows, latents = [], []
        for one in audio:
            compressed = codec.compress(one, 44100)
            decoded = torch.as_tensor(codec.decompress(compressed))
            latents.append(torch.as_tensor(compressed.values)[0])
            chroma, difference = tonal(decoded[0].numpy(), one[0].numpy(), 44100, lowest=32.7)
            rows.append(
                {
                    "chroma": chroma,
                    "constant-Q dB": difference,
                    "convergence 2048": float(convergence(decoded, one, 2048)),
                    "convergence 8192": float(convergence(decoded, one, 8192)),
                    "log-spectral dB": float(log_spectral_distance(decoded, one)),
                    "level dB": float(20 * (decoded.norm() / one.norm()).log10()),
                }
            )
        found = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
        found["dimension"] = float(effective_dimension(torch.cat(latents, 1)[None]))
        if not number:
            print("| model | " + " | ".join(found) + " |\n|---|" + "---:|" * len(found))
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in found.values()) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
