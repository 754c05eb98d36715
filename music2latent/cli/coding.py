"""encode, decode, reconstruct: files through the codec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..files import check_free, check_suffix, stored_bits
from .options import (
    AudioInputs,
    CodecOptions,
    CodingRate,
    DecodingOptions,
    Force,
    Format,
    Output,
    SaveDtype,
    SpeedOptions,
)
from .paths import plan
from .running import run

if TYPE_CHECKING:
    from ..progress import Progress
    from .paths import Job


def encode(
    inputs: AudioInputs,
    *,
    output: Output = None,
    codec_options: CodecOptions,
    speed: SpeedOptions,
    coding_rate: CodingRate = None,
    save_dtype: SaveDtype = "float16",
    force: Force = False,
) -> None:
    """Audio -> latents (.m2l)."""
    from ..audio import FORMATS
    from ..latents import SUFFIX
    from ..transcoding import encode_file

    bits = stored_bits(save_dtype)
    jobs = plan(inputs, output, accepted=FORMATS, suffix=SUFFIX)
    for job in jobs:
        check_suffix(job.output, SUFFIX, "latents")
    codec = codec_options.load_for(jobs, force, speed)

    def work(job: Job, progress: Progress) -> None:
        latents = encode_file(
            codec, job.input, job.output, coding_rate=coding_rate, dtype=save_dtype, progress=progress
        )
        channels, dim, length = latents.values.shape
        typer.echo(f"{job.output}: {channels} x {dim} x {length}, {latents.bitrate(bits):.1f} kbit/s")

    run(jobs, work, force=force, at_once=speed.batch_size)


def decode(
    inputs: Annotated[list[Path], typer.Argument(help="Latent files (.m2l), or folders of them (mirrored).")],
    *,
    output: Output = None,
    codec_options: CodecOptions,
    speed: SpeedOptions,
    decoding: DecodingOptions,
    format: Format = "wav",
    force: Force = False,
) -> None:
    """Latents (.m2l) -> audio."""
    from ..latents import SUFFIX
    from ..transcoding import decode_file

    jobs = plan(inputs, output, accepted=[SUFFIX], suffix=_suffix(format))
    codec = codec_options.load_for(jobs, force, speed)

    def work(job: Job, progress: Progress) -> None:
        latents = decode_file(
            codec, job.input, job.output, seed=decoding.seed, num_steps=decoding.steps, progress=progress
        )
        typer.echo(f"{job.output}: {latents.duration:.2f} s, {latents.sample_rate} Hz, {latents.channels} channels")

    run(jobs, work, force=force, at_once=speed.batch_size)


def reconstruct(
    inputs: AudioInputs,
    *,
    output: Output = None,
    codec_options: CodecOptions,
    decoding: DecodingOptions,
    format: Format = "wav",
    coding_rate: CodingRate = None,
    plot: Annotated[bool, typer.Option("--plot", help="Also write a picture (.png) of what went in and out.")] = False,
    force: Force = False,
) -> None:
    """Audio -> latents -> audio, to hear what the codec makes of it."""
    from ..audio import FORMATS
    from ..evaluation.plot import plot_reconstruction
    from ..extras import require
    from ..transcoding import reconstruct_file

    if plot:
        require("plot")
    jobs = plan(inputs, output, accepted=FORMATS, suffix=_suffix(format), marker=".reconstructed")
    codec = codec_options.load_for(jobs, force)

    def work(job: Job, progress: Progress) -> None:
        picture = job.output.with_suffix(".png")
        if plot:
            check_free(picture, force)
        done = reconstruct_file(
            codec,
            job.input,
            job.output,
            coding_rate=coding_rate,
            seed=decoding.seed,
            num_steps=decoding.steps,
            progress=progress,
        )
        latents = done.latents
        typer.echo(f"audio    {job.output}")
        if plot:
            plot_reconstruction(job.input, job.output, latents, picture)
            typer.echo(f"picture  {picture}")
        seconds = latents.duration
        typer.echo(f"length   {seconds:.2f} s, {latents.sample_rate} Hz, {latents.channels} channels, as it came")
        typer.echo(f"bitrate  {latents.bitrate():.1f} kbit/s (float16 latents)")
        typer.echo(
            f"speed    encoded at {seconds / done.encode_seconds:.1f}, "
            f"decoded at {seconds / done.decode_seconds:.1f} times real time"
        )

    run(jobs, work, force=force)


def _suffix(format: str) -> str:
    return f".{format.lower().lstrip('.')}"
