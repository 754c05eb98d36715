"""encode, decode, reconstruct: files through the codec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from ..files import check_free, check_suffix, stored_bits
from .options import (
    AudioInputs,
    CodecOptions,
    CodingRate,
    DecodingOptions,
    Existing,
    Format,
    Output,
    SaveDtype,
    SpeedOptions,
    Subtype,
)
from .output import say
from .paths import DECODED, RECONSTRUCTED, plan, refuse
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
    features: Annotated[
        bool, typer.Option("--features", help="The encoder's features [C, feature_dim, L] instead, as .npy.")
    ] = False,
    existing: Existing,
) -> None:
    """Audio -> latents (.m2l)."""
    from ..audio import FORMATS
    from ..latents import SUFFIX
    from ..transcoding import FEATURES_SUFFIX, encode_features_file, encode_file

    bits = stored_bits(save_dtype)
    refuse(inputs, [SUFFIX], "latents already; decode makes audio of them")
    suffix, what = (FEATURES_SUFFIX, "features") if features else (SUFFIX, "latents")
    jobs = plan(inputs, output, accepted=FORMATS, suffix=suffix)
    for job in jobs:
        check_suffix(job.output, suffix, what)
    codec = codec_options.load_for(jobs, existing, speed)
    options: Any = {"coding_rate": coding_rate, "dtype": save_dtype, "overwrite": existing.force}

    def work(job: Job, progress: Progress) -> None:
        if features:
            shape = encode_features_file(codec, job.open(), job.output, progress=progress, **options)
            say(f"{job.output}: {' x '.join(map(str, shape))}")
        else:
            latents = encode_file(codec, job.open(), job.output, progress=progress, **options)
            shape = latents.values.shape
            say(f"{job.output}: {' x '.join(map(str, shape))}, {latents.bitrate(bits):.1f} kbit/s")

    run(jobs, work, existing=existing, at_once=speed.batch_size)


def decode(
    inputs: Annotated[list[Path], typer.Argument(help="Latent files (.m2l), or folders of them (mirrored).")],
    *,
    output: Output = None,
    codec_options: CodecOptions,
    speed: SpeedOptions,
    decoding: DecodingOptions,
    format: Format = "wav",
    subtype: Subtype = None,
    existing: Existing,
) -> None:
    """Latents (.m2l) -> audio, NAME.decoded.wav."""
    from ..audio import FORMATS
    from ..latents import SUFFIX
    from ..transcoding import decode_file

    refuse(inputs, FORMATS, f"audio, not latents; encode makes latents ({SUFFIX}) of it")
    jobs = plan(inputs, output, accepted=[SUFFIX], suffix=_suffix(format), marker=DECODED)
    codec = codec_options.load_for(jobs, existing, speed)

    def work(job: Job, progress: Progress) -> None:
        latents = decode_file(
            codec,
            job.open(),
            job.output,
            seed=decoding.seed,
            num_steps=decoding.steps,
            subtype=subtype,
            overwrite=existing.force,
            progress=progress,
        )
        say(f"{job.output}: {latents.duration:.2f} s, {latents.sample_rate} Hz, {latents.channels} channels")

    run(jobs, work, existing=existing, at_once=speed.batch_size)


def reconstruct(
    inputs: AudioInputs,
    *,
    output: Output = None,
    codec_options: CodecOptions,
    decoding: DecodingOptions,
    format: Format = "wav",
    subtype: Subtype = None,
    coding_rate: CodingRate = None,
    plot: Annotated[bool, typer.Option("--plot", help="Also write a picture (.png) of what went in and out.")] = False,
    existing: Existing,
) -> None:
    """Audio -> latents -> audio, NAME.reconstructed.wav, to hear what the codec makes of it."""
    from ..audio import FORMATS
    from ..evaluation.plot import plot_reconstruction
    from ..extras import require
    from ..latents import SUFFIX
    from ..transcoding import reconstruct_file, warm_up

    if plot:
        require("plot")
    refuse(inputs, [SUFFIX], "latents, not audio; decode makes audio of them")
    jobs = plan(inputs, output, accepted=FORMATS, suffix=_suffix(format), marker=RECONSTRUCTED)
    codec = codec_options.load_for(jobs, existing)
    warm_up(codec)

    def work(job: Job, progress: Progress) -> None:
        picture = job.output.with_suffix(".png")
        if plot:
            check_free(picture, existing.force)
        done = reconstruct_file(
            codec,
            job.open(),
            job.output,
            coding_rate=coding_rate,
            seed=decoding.seed,
            num_steps=decoding.steps,
            subtype=subtype,
            overwrite=existing.force,
            progress=progress,
        )
        latents = done.latents
        say(f"audio    {job.output}")
        if plot:
            plot_reconstruction(job.input, job.output, latents, picture)
            say(f"picture  {picture}")
        seconds = latents.duration
        say(f"length   {seconds:.2f} s, {latents.sample_rate} Hz, {latents.channels} channels, as it came")
        say(f"bitrate  {latents.bitrate():.1f} kbit/s (float16 latents)")
        say(
            f"speed    encoded at {seconds / done.encode_seconds:.1f}, "
            f"decoded at {seconds / done.decode_seconds:.1f} times real time"
        )

    run(jobs, work, existing=existing)


def _suffix(format: str) -> str:
    """The suffix of a format that can be written."""
    from ..audio import WRITTEN

    suffix = f".{format.lower().lstrip('.')}"
    if suffix not in WRITTEN:
        raise InputError(f"--format {format}: accepted are {', '.join(known[1:] for known in WRITTEN)}")
    return suffix
