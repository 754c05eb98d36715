"""live: sound through the codec while it plays."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import InputError
from .options import CodecOptions, Seed
from .output import is_quiet, show, tell

if TYPE_CHECKING:
    from ..duplex import Card, Duplex

SoundDevice = Annotated[str | None, typer.Option(help="With --devices: number or part of the name of another one.")]


def live(
    codec_options: CodecOptions,
    seed: Seed = 0,
    sample_rate: Annotated[
        int | None, typer.Option(help="Rate of raw samples or of the devices in Hz; a WAV stream knows its own.")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="Channels of raw samples, or to be recorded.")] = 1,
    chunk: Annotated[
        tuple[int, int], typer.Option(help="Chunks and their overlap in latents: longer sounds better, later.")
    ] = (4, 1),
    devices: Annotated[
        bool, typer.Option("--devices", help="From the microphone to the speakers; Ctrl-C ends it.")
    ] = False,
    input_device: SoundDevice = None,
    output_device: SoundDevice = None,
    list_devices: Annotated[bool, typer.Option("--list-devices", help="Show the sound devices, and exit.")] = False,
) -> None:
    """Sound on standard input -> latents -> sound on standard output, while it plays.

    WAV (16, 24 or 32 bits, or 32-bit floats), or raw 16-bit samples with --sample-rate; the same kind comes out.
    """
    if list_devices:
        from ..duplex import list_devices as listed

        return show(listed())
    if devices:
        from ..duplex import find_card

        recording, playing = (int(one) if one and one.isdigit() else one for one in (input_device, output_device))
        card = find_card(recording, playing, sample_rate=sample_rate, channels=channels)
        return _through(card, codec_options, chunk, seed)
    if input_device or output_device:
        raise typer.BadParameter("--input-device and --output-device choose devices for --devices; give that as well")
    for name, stream in (("input", sys.stdin), ("output", sys.stdout)):
        if stream is None or stream.closed or stream.isatty():
            state = "a terminal" if stream is not None and not stream.closed else "closed"
            raise InputError(
                f"standard {name} is {state}; use it as in PLAYER | music2latent live | PLAYER, or with --devices"
            )
    from ..chunks import ChunkPlan
    from ..live import run

    plan, codec = ChunkPlan(*chunk), codec_options.load()
    reader, writer = sys.stdin.buffer, sys.stdout.buffer
    run(reader, writer, codec, plan, sample_rate=sample_rate, channels=channels, seed=seed)


def _through(card: Card, codec_options: CodecOptions, chunk: tuple[int, int], seed: int) -> None:
    """From a card's one side to its other, under a meter; at the end what went wrong is counted."""
    from ..chunks import ChunkPlan
    from ..duplex import Duplex, run
    from ..transcoding import warm_up
    from .stopping import until_interrupted

    plan, codec = ChunkPlan(*chunk), codec_options.load()
    warm_up(codec)
    duplex = Duplex(codec, plan, sample_rate=card.sample_rate, channels=card.channels, seed=seed)
    tell(f"{card.sample_rate} Hz, {card.channels} channels, {duplex.latency:.2f} s from in to out; Ctrl-C ends it")
    with until_interrupted() as stop, _meter() as shown:
        run(card, duplex, stop, shown)
    show(_counts(duplex))


def _counts(duplex: Duplex) -> str:
    return (
        f"{duplex.seconds:.1f} s coded; dropouts: {duplex.gaps} in what was played, {duplex.lost} blocks not recorded"
    )


@contextmanager
def _meter() -> Iterator[Callable[[Duplex], None]]:
    """Levels and dropouts, on a terminal's standard error."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    if is_quiet() or not console.is_terminal:
        yield lambda duplex: None
        return
    with Live(console=console, refresh_per_second=10, transient=True) as line:
        yield lambda duplex: line.update(
            Text(f"in {_bar(duplex.levels[0])}  out {_bar(duplex.levels[1])}  {_counts(duplex)}")
        )


def _bar(peak: float) -> str:
    """A peak as a bar over 60 dB, and in dB under full scale."""
    decibels = max(-60.0, 20 * math.log10(max(peak, 1e-3)))
    filled = round((decibels + 60) / 5)
    return f"{'█' * filled}{'·' * (12 - filled)} {decibels:4.0f} dB"
