"""live: sound through the codec while it plays."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .options import CodecOptions, Seed


def live(
    codec_options: CodecOptions,
    seed: Seed = 0,
    sample_rate: Annotated[
        int | None, typer.Option(help="Rate of raw samples in Hz; a WAV stream knows its own.")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="Channels of raw samples.")] = 1,
    chunk: Annotated[
        tuple[int, int], typer.Option(help="Chunks and their overlap in latents: longer sounds better, later.")
    ] = (4, 1),
) -> None:
    """Sound on standard input -> latents -> sound on standard output, while it plays.

    16-bit WAV, or raw 16-bit samples with --sample-rate; what comes out is of the same kind.
    """
    from ..chunks import ChunkPlan
    from ..live import run

    plan, codec = ChunkPlan(*chunk), codec_options.load()
    reader, writer = sys.stdin.buffer, sys.stdout.buffer
    run(reader, writer, codec, plan, sample_rate=sample_rate, channels=channels, seed=seed)
