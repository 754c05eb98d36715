"""live: sound through the codec while it plays."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..errors import InputError
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

    WAV (16, 24 or 32 bits, or 32-bit floats), or raw 16-bit samples with --sample-rate; the same kind comes out.
    """
    for name, stream in (("input", sys.stdin), ("output", sys.stdout)):
        if stream is None or stream.closed or stream.isatty():
            state = "a terminal" if stream is not None and not stream.closed else "closed"
            raise InputError(f"standard {name} is {state}; use it as in PLAYER | music2latent live | PLAYER")
    from ..chunks import ChunkPlan
    from ..live import run

    plan, codec = ChunkPlan(*chunk), codec_options.load()
    reader, writer = sys.stdin.buffer, sys.stdout.buffer
    run(reader, writer, codec, plan, sample_rate=sample_rate, channels=channels, seed=seed)
