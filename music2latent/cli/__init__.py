"""The command line: verbs that parse, call and print. What is slow to import is imported inside them."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from .. import __version__
from ..errors import InputError

if TYPE_CHECKING:
    from ..codec import EncoderDecoder
    from .jobs import Job, Report

app = typer.Typer(
    name="music2latent",
    help="Audio -> 64 numbers about eleven times a second -> audio.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

AudioInputs = Annotated[list[Path], typer.Argument(help="Audio files, or folders of them (mirrored).")]
LatentInputs = Annotated[list[Path], typer.Argument(help="Latent files (.m2l), or folders of them (mirrored).")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="A folder, or a file for one input. Default: beside the input.")
]
Model = Annotated[
    str, typer.Option("--model", "-m", help="mini (bundled), a path, or a repository id on the Hugging Face hub.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps. Default: the fastest there is.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16, or auto: what this hardware is fast in.")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the networks; for a GPU and much audio.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Files at a time, as one batch: for a GPU and many files.")]
Seed = Annotated[int, typer.Option(help="Seed of the decoder's noise; the same seed gives the same audio.")]
Steps = Annotated[int, typer.Option(min=1, help="Network passes of the decoder.")]
Format = Annotated[str, typer.Option("--format", "-f", help="Suffix of the audio: wav, flac, ogg, opus, mp3, aiff.")]
CodingRate = Annotated[int | None, typer.Option(help="Code at 44100 (default) or 48000 Hz.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, help="Print the version.")] = False,
) -> None:
    pass


@app.command()
def encode(
    inputs: AudioInputs,
    output: Output = None,
    model: Model = "mini",
    device: Device = None,
    dtype: Dtype = "auto",
    compile: Compile = False,
    batch_size: BatchSize = 1,
    coding_rate: CodingRate = None,
    float32: Annotated[bool, typer.Option("--float32", help="Store float32, not float16.")] = False,
    force: Force = False,
) -> None:
    """Audio -> latents (.m2l)."""
    from ..audio import FORMATS
    from ..latents import SUFFIX
    from . import jobs

    planned = jobs.plan(inputs, output, accepted=FORMATS, suffix=SUFFIX)
    for job in planned:
        if job.target.suffix.lower() != SUFFIX:
            raise InputError(f"{job.target}: latents are written to files ending in {SUFFIX}")
    codec = _load(planned, force, model, device, dtype, compile, batch_size)

    def work(job: Job, report: Report) -> None:
        latents = codec.compress(job.source, coding_rate=coding_rate, progress=report)
        latents.save(job.target, dtype="float32" if float32 else "float16")
        channels, dim, length = latents.values.shape
        typer.echo(f"{job.target}: {channels} x {dim} x {length}, {latents.bitrate(32 if float32 else 16):.1f} kbit/s")

    _finish(jobs.run(planned, work, force=force, at_once=batch_size), len(planned))


@app.command()
def decode(
    inputs: LatentInputs,
    output: Output = None,
    model: Model = "mini",
    device: Device = None,
    dtype: Dtype = "auto",
    compile: Compile = False,
    batch_size: BatchSize = 1,
    seed: Seed = 0,
    steps: Steps = 1,
    format: Format = "wav",
    force: Force = False,
) -> None:
    """Latents (.m2l) -> audio."""
    from ..audio import check_writable, write_audio
    from ..latents import SUFFIX, Latents
    from . import jobs

    planned = jobs.plan(inputs, output, accepted=[SUFFIX], suffix=_suffix(format))
    codec = _load(planned, force, model, device, dtype, compile, batch_size)

    def work(job: Job, report: Report) -> None:
        latents = Latents.load(job.source)
        check_writable(job.target, latents.sample_rate, latents.channels)
        blocks = codec.decompress_blocks(latents, seed=seed, num_steps=steps, progress=report)
        write_audio(job.target, blocks, latents.sample_rate, latents.channels, latents.num_samples)
        typer.echo(f"{job.target}: {latents.duration:.2f} s, {latents.sample_rate} Hz, {latents.channels} channels")

    _finish(jobs.run(planned, work, force=force, at_once=batch_size), len(planned))


@app.command()
def reconstruct(
    inputs: AudioInputs,
    output: Output = None,
    model: Model = "mini",
    device: Device = None,
    dtype: Dtype = "auto",
    seed: Seed = 0,
    steps: Steps = 1,
    format: Format = "wav",
    coding_rate: CodingRate = None,
    plot: Annotated[bool, typer.Option("--plot", help="Also write a picture (.png) of what went in and out.")] = False,
    force: Force = False,
) -> None:
    """Audio -> latents -> audio, to hear what the codec makes of it."""
    from ..audio import FORMATS, check_writable, open_audio, write_audio
    from ..evaluation.plot import need_matplotlib, plot_reconstruction
    from . import jobs

    if plot:
        need_matplotlib()
    planned = jobs.plan(inputs, output, accepted=FORMATS, suffix=_suffix(format), marker=".reconstructed")
    codec = _load(planned, force, model, device, dtype)

    def work(job: Job, report: Report) -> None:
        picture = job.target.with_suffix(".png")
        if plot:
            jobs.check_free(picture, force)
        source = open_audio(job.source)
        check_writable(job.target, source.sample_rate, source.channels)
        begun = time.perf_counter()
        latents = codec.compress(job.source, coding_rate=coding_rate, progress=lambda done: report(done / 4))
        latents = latents.rounded()  # as decoding from a file would hear them
        encoded = time.perf_counter()
        blocks = codec.decompress_blocks(
            latents, seed=seed, num_steps=steps, progress=lambda done: report(1 / 4 + done * 3 / 4)
        )
        write_audio(job.target, blocks, latents.sample_rate, latents.channels, latents.num_samples)
        decoded = time.perf_counter()
        typer.echo(f"audio    {job.target}")
        if plot:
            plot_reconstruction(job.source, job.target, latents, picture)
            typer.echo(f"picture  {picture}")
        seconds = latents.duration
        typer.echo(f"length   {seconds:.2f} s, {latents.sample_rate} Hz, {latents.channels} channels, as it came")
        typer.echo(f"bitrate  {latents.bitrate():.1f} kbit/s (float16 latents)")
        typer.echo(
            f"speed    encoded at {seconds / (encoded - begun):.1f}, "
            f"decoded at {seconds / (decoded - encoded):.1f} times real time"
        )

    _finish(jobs.run(planned, work, force=force), len(planned))


@app.command()
def live(
    model: Model = "mini",
    device: Device = None,
    dtype: Dtype = "auto",
    seed: Seed = 0,
    rate: Annotated[int | None, typer.Option(help="Rate of raw samples in Hz; a WAV stream knows its own.")] = None,
    channels: Annotated[int, typer.Option(min=1, help="Channels of raw samples.")] = 1,
    window: Annotated[
        tuple[int, int], typer.Option(help="Window and overlap in latents: longer sounds better and answers later.")
    ] = (4, 1),
) -> None:
    """Sound on standard input -> latents -> sound on standard output, while it plays.

    16-bit WAV, or raw 16-bit samples with --rate; what comes out is of the same kind.
    """
    from ..chunks import WindowPlan
    from ..codec import EncoderDecoder
    from ..live import run

    codec = EncoderDecoder(model=model, device=device, dtype=dtype)
    run(sys.stdin.buffer, sys.stdout.buffer, codec, WindowPlan(*window), rate=rate, channels=channels, seed=seed)


@app.command()
def info(
    inputs: Annotated[list[str], typer.Argument(help="Audio or .m2l files, checkpoints, or names of models.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per input.")] = False,
) -> None:
    """What a file or a model is."""
    from ..info import facts_of

    failures = []
    for name in inputs:
        try:
            facts = facts_of(name)
        except InputError as error:
            failures.append(error)
            continue
        if as_json:
            typer.echo(json.dumps(facts))
        else:
            typer.echo("\n".join(f"{key:<14} {value}" for key, value in facts.items()) + "\n")
    _finish(failures, len(inputs))


@app.command()
def convert(
    source: Annotated[str, typer.Argument(help="A published .pt file, or any model name or path.")],
    target: Annotated[Path, typer.Argument(help="A .safetensors file to write.")],
    half: Annotated[bool, typer.Option("--half", help="Round the weights to float16.")] = False,
    model_id: Annotated[str | None, typer.Option(help="Name of the model. Default: the file's.")] = None,
    provenance: Annotated[str | None, typer.Option(help="Who trained it on what.")] = None,
    license: Annotated[str | None, typer.Option(help="Licence of the weights.")] = None,
    window: Annotated[
        tuple[int, int] | None, typer.Option(help="Window and overlap in latents that the model works best in.")
    ] = None,
    force: Force = False,
) -> None:
    """A published .pt checkpoint -> one safetensors file with its configuration inside."""
    from ..checkpoint import load_checkpoint, write_safetensors

    _check_model_file(target, force)
    changes: dict[str, Any] = {"model_id": model_id, "provenance": provenance, "license": license, "window": window}
    checkpoint = replace(load_checkpoint(source), **{k: v for k, v in changes.items() if v is not None})
    write_safetensors(target, checkpoint, half=half)
    typer.echo(f"{target}: {checkpoint.model_id}, {target.stat().st_size / 1e6:.1f} MB")


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A TOML file: configs/official.toml, mini.toml, tiny.toml.")],
    data: Annotated[
        list[str] | None, typer.Option("--data", help="A folder of audio, or FOLDER=WEIGHT; several may be given.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The run folder; resumed if it exists.")] = None,
    validation: Annotated[Path | None, typer.Option(help="A folder of audio to measure and listen to.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="key=value or table.key=value, on top of the file.")
    ] = None,
    init_from: Annotated[str | None, typer.Option(help="A model to start from: fine-tuning.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Stop cleanly after so long.")] = None,
    decode_to: Annotated[
        Path | None, typer.Option(help="Decode the data once, to int16 files in this folder, and read those.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would run and what it costs.")] = False,
) -> None:
    """Folders of audio -> a model. Run the same command again to go on."""
    from ..training.config import load_config

    resolved = load_config(config, settings)
    if dry_run:
        from ..training.summary import summary

        typer.echo(json.dumps(resolved.to_dict() | {"cost": summary(resolved)}, indent=2))
        return
    if not data or output is None:
        raise typer.BadParameter("train needs --data and --output (or --dry-run)")
    from ..training.data import parse_source
    from ..training.loop import train as run_training

    sources = [parse_source(text) for text in data]
    reached = run_training(
        resolved,
        sources,
        output,
        validation=validation,
        init_from=init_from,
        max_minutes=max_minutes,
        decode_to=decode_to,
    )
    typer.echo(f"{output}: at iteration {reached} of {resolved.recipe.iterations}")


@app.command()
def export_weights(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    target: Annotated[Path, typer.Argument(help="A .safetensors file to write.")],
    half: Annotated[bool, typer.Option("--half", help="Round the weights to float16.")] = False,
    best: Annotated[bool, typer.Option("--best", help="The best checkpoint by validation, not the last.")] = False,
    force: Force = False,
) -> None:
    """A run's averaged weights -> a model file with latent statistics, and a model card."""
    from ..training.export import export_weights as export

    _check_model_file(target, force)
    checkpoint = export(run, target, half=half, best=best)
    typer.echo(f"{target}: {checkpoint.provenance}; latent scale {checkpoint.latent_scale:.4f}")


class _Lists(TyperCommand):
    """A command whose repeatable options also take several values at once: `--steps 1 2 4`. Arguments come before."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        repeatable = {name for option in self.params if getattr(option, "multiple", False) for name in option.opts}
        expanded: list[str] = []
        current = None
        for arg in args:
            if arg.startswith("-"):
                current = arg if arg in repeatable else None
                expanded.append(arg)
            elif current and expanded[-1] != current:
                expanded += [current, arg]
            else:
                expanded.append(arg)
        return super().parse_args(ctx, expanded)


@app.command(cls=_Lists)
def evaluate(
    inputs: Annotated[list[Path], typer.Argument(help="Folders of audio, or files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for the report.")],
    models: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Models; NAME@int8: latents in 8 bits. Default: mini."),
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Other codecs: opus:12, mp3:32 (kbit/s per channel), encodec:6, dac, ...")
    ] = None,
    steps: Annotated[list[int] | None, typer.Option(min=1, help="Network passes of our decoder. Default: 1.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Files per folder, evenly spaced.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="Only so much, from the middle of each file.")] = None,
    min_seconds: Annotated[float, typer.Option(help="Leave shorter files out.")] = 1.0,
    seeds: Annotated[int, typer.Option(min=1, help="Decodings of each file that the spread is taken over.")] = 5,
    fad: Annotated[
        list[str] | None,
        typer.Option(help="Fréchet Audio Distance too, by: vggish, clap (downloaded when first used)."),
    ] = None,
    examples: Annotated[int, typer.Option(min=1, help="Files to listen to in the report.")] = 3,
    device: Device = None,
    dtype: Dtype = "auto",
    force: Force = False,
) -> None:
    """How good reconstructions are: tables, pictures, and a page to listen to."""
    from ..evaluation.evaluate import Settings
    from ..evaluation.report import run
    from . import jobs

    codecs = [f"{name}@{n}" if n > 1 else name for name in models or ["mini"] for n in steps or [1]]
    names = (*codecs, *(against or []))
    settings = Settings(names, limit, seconds, min_seconds, seeds, device, dtype, tuple(fad or ()))
    jobs.check_free(output / "report.json", force)
    with jobs.progress_bar(1) as report:
        page = run(inputs, settings, output, examples=examples, progress=report)
    typer.echo((output / "report.md").read_text())
    typer.echo(f"{page}: open it in a browser to listen")


@app.command()
def probe(
    folders: Annotated[list[Path], typer.Argument(help="Data sets: a folder per class, or files with a labels.csv.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder for probe.json and probe.md.")],
    model: Model = "mini",
    folds: Annotated[int, typer.Option(min=2, help="Of cross-validation; no source is in two of them.")] = 5,
    device: Device = None,
    dtype: Dtype = "auto",
    force: Force = False,
) -> None:
    """How much a linear classifier finds in the latents, in the features, and in a log-mel spectrogram."""
    from ..codec import EncoderDecoder
    from ..evaluation.probe import run
    from . import jobs

    jobs.check_free(output / "probe.json", force)
    codec = EncoderDecoder(model=model, device=device, dtype=dtype)
    with jobs.progress_bar(len(folders)) as report:
        typer.echo(run(folders, codec, output, folds=folds, progress=report))


def _check_model_file(target: Path, force: bool) -> None:
    """Refuse, before any work is done, a place that a model is not written to."""
    from .jobs import check_free

    if target.suffix.lower() != ".safetensors":
        raise InputError(f"{target}: models are written to files ending in .safetensors")
    check_free(target, force)


def _suffix(format: str) -> str:
    return f".{format.lower().lstrip('.')}"


def _load(
    planned: list[Job],
    force: bool,
    model: str,
    device: str | None,
    dtype: str,
    compile: bool = False,
    batch_size: int = 1,
) -> EncoderDecoder:
    """The codec, unless there is nothing to do for it."""
    from ..codec import EncoderDecoder
    from . import jobs

    if len(planned) == 1:
        jobs.check_free(planned[0].target, force)
    return EncoderDecoder(model=model, device=device, dtype=dtype, compile=compile, batch_size=batch_size)


def _finish(failures: list[InputError], total: int) -> None:
    """Say what went wrong, all at the end, and exit with 1 if anything did."""
    for failure in failures:
        typer.echo(f"error: {failure}", err=True)
    if failures and total > 1:
        typer.echo(f"{len(failures)} of {total} failed; the rest is done", err=True)
    if failures:
        raise typer.Exit(1)


class _Interrupted(BaseException):
    """Ctrl-C or SIGTERM, under a name that no library on the way up has its own idea of."""


def main() -> None:
    """Entry point: refused input is one line and exit code 1, wrong usage exit code 2."""
    interrupted = False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise _Interrupted

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)
    try:
        app()
    except BaseException as error:
        if interrupted:
            # Raised inside Python's own locks it may come up as another error, or leave a thread that nobody waits
            # for and that would abort the interpreter's orderly end; files have been put right on the way up.
            typer.echo("error: interrupted; nothing half-written was left", err=True)
            os._exit(1)
        if not isinstance(error, (InputError, OSError)):
            raise
        typer.echo(f"error: {error}", err=True)
    raise SystemExit(1)
