"""What precision, chunks and overlaps cost, against float32 decoding of the whole file, and what seams do.

    python benchmarks/quality.py [DIR ...] [--model mini]

Writes benchmarks/quality.md. Distances are those of `music2latent evaluate`. A seam's jump is the spectral flux where
one chunk hands over to the next, over the flux elsewhere, in the reconstruction less in the original, in dB.
"""

from __future__ import annotations

import shlex
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from music2latent import EncoderDecoder
from music2latent.chunks import ChunkPlan
from music2latent.evaluation.metrics import multi_resolution_stft
from music2latent.evaluation.peers import Ours
from music2latent.evaluation.pieces import choose
from music2latent.evaluation.sound import Sound
from music2latent.pretrained import load_checkpoint
from music2latent.stft import log_spectral_distance

HERE = Path(__file__).parent
WHOLE = ChunkPlan(4096, 0)
VARIANTS = {
    "float32, whole file": ("float32", WHOLE),
    "bfloat16, whole file": ("bfloat16", WHOLE),
    "float32, latents in 8 bits, whole file": ("int8", WHOLE),
    **{
        f"float32, chunks of {length}, overlap {overlap}": ("float32", ChunkPlan(length, overlap))
        for length, overlap in (
            *((108, 23), (108, 8), (108, 4), (64, 8), (64, 4), (32, 4), (16, 4), (8, 2), (4, 1)),
            *((108, 0), (64, 0), (32, 0), (8, 0), (4, 0)),
        )
    },
}


def jump(estimate: Tensor, reference: Tensor, seams: list[int]) -> float:
    """dB, over all seams of one channel; NaN where there are none."""
    hop, size = 256, 1024
    levels = []
    for audio in (estimate, reference):
        magnitudes = torch.stft(audio, size, hop, window=torch.hann_window(size), return_complex=True).abs()
        flux = (magnitudes[:, 1:] - magnitudes[:, :-1]).abs().mean(0)
        at = torch.zeros(len(flux), dtype=torch.bool)
        for seam in seams:
            at[max(0, seam // hop - 2) : seam // hop + 2] = True
        levels.append(10 * (flux[at].mean() / flux[~at].mean()).log10().item())
    return levels[0] - levels[1]


def main(
    folders: Annotated[list[Path] | None, typer.Argument(help="Audio.")] = None,
    model: Annotated[str, typer.Option(help="As everywhere.")] = "mini",
    seconds: Annotated[float, typer.Option(help="Of every file, from its middle.")] = 20.0,
    limit: Annotated[int | None, typer.Option(help="Files of every folder.")] = None,
    output: Annotated[Path, typer.Option(help="Where the table goes.")] = HERE / "quality.md",
) -> None:
    """Measure and write the table."""
    checkpoint = load_checkpoint(model)
    pieces = choose(folders or [HERE.parent / "examples"], limit=limit, seconds=seconds, min_seconds=seconds)
    rows: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in VARIANTS}
    for piece in pieces:
        reference, whole = piece.read()[:1], None
        for name, (dtype, plan) in VARIANTS.items():
            precision = "float32" if dtype == "int8" else dtype
            codec = EncoderDecoder(model=replace(checkpoint, chunk_plan=plan), device="cpu", dtype=precision)
            found = Ours(codec, 8 if dtype == "int8" else 16, 1)(reference, piece.sample_rate, 0).audio
            whole = found if whole is None else whole
            frame = codec.frame_size * piece.sample_rate / codec.sample_rate
            first = plan.length - plan.overlap / 2
            count = round(reference.shape[-1] / frame) // plan.step + 1
            seams = [round((first + index * plan.step) * frame) for index in range(count)]
            seams = [seam for seam in seams if seam < reference.shape[-1] - frame]
            rows[name].append(
                (
                    log_spectral_distance(found, reference).mean().item(),
                    multi_resolution_stft(*(Sound(audio, piece.sample_rate) for audio in (found, reference))),
                    log_spectral_distance(found, whole).mean().item(),
                    jump(found[0], reference[0], seams) if seams else 0.0,
                )
            )
            typer.echo(f"{piece.path}, {name}: {rows[name][-1]}", err=True)
    lines = ["| | log-spectral distance (dB) | multi-resolution STFT | distance from the first row (dB) | seams (dB) |"]
    lines += ["|---|---:|---:|---:|---:|"]
    for name, values in rows.items():
        a, b, c, d = (statistics.mean(column) for column in zip(*values, strict=True))
        lines.append(f"| {name} | {a:.2f} | {b:.3f} | {c:.2f} | {d:+.2f} |")
    text = f"Model `{checkpoint.model_id}`, {len(pieces)} pieces of {seconds:g} s, one channel.\n\n"
    text += "\n".join(lines) + "\n"
    typer.echo(text)
    command = shlex.join(["python", "benchmarks/quality.py", *sys.argv[1:]])
    output.write_text(f"# What precision and chunks cost\n\n    {command}\n\n{text}")


if __name__ == "__main__":
    typer.run(main)
