"""What the page does with files: a clip or latents in, files to hear, see and keep out. Knows nothing of pages."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..audio import open_audio, read_whole, write_audio
from ..codec import EncoderDecoder
from ..display import facts_html
from ..errors import InputError
from ..evaluation.plot import plot_sounds
from ..latents import SUFFIX, Latents
from ..progress import NamedProgress, Progress
from ..transcoding import reconstruct_file


@dataclass(frozen=True, kw_only=True)
class Coder:
    """A codec and how it decodes."""

    codec: EncoderDecoder
    num_steps: int = 1
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What one run leaves in its folder, to be shown."""

    audio: Path
    """WAV, which every browser plays."""
    picture: Path
    latents: Latents
    kept: Path
    """The latents, to be downloaded."""
    facts: str
    """A table in HTML."""


def check_length(name: str, seconds: float, channels: int, most: float) -> None:
    """Refuse what takes longer to code than `most` seconds of stereo.

    Raises:
        InputError: too long, or too many channels for its length.
    """
    if seconds * max(channels, 2) / 2 > most:
        raise InputError(
            f"{name}: {_clock(seconds)} long, {channels} channels; this page takes up to {_clock(most)} of stereo: "
            "cut it, or code it on the command line, which has no such limit"
        )


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if minutes >= 60 else f"{minutes}:{seconds:02}"


def check_clip(clip: Path, most: float) -> None:
    """Refuse a file that is no audio, or too long, before it is decoded.

    Raises:
        InputError: as `open_audio` and `check_length`.
    """
    source = open_audio(clip)
    check_length(clip.name, source.duration, source.channels, most)


def reconstruct(coder: Coder, clip: Path, folder: Path, progress: NamedProgress) -> tuple[Path, Heard]:
    """The clip as a WAV file, and what the codec makes of it.

    Raises:
        InputError: a file that cannot be read.
    """
    target, source = folder / "reconstruction.wav", open_audio(clip)
    done = reconstruct_file(
        coder.codec,
        clip,
        target,
        seed=coder.seed,
        num_steps=coder.num_steps,
        subtype="PCM_16",
        progress=_part(progress, "encoding and decoding", 0, 0.9),
    )
    samples = read_whole(source, source.sample_rate)
    original = folder / "original.wav"
    write_audio(original, [samples], source.sample_rate, *samples.shape)
    seconds = done.latents.duration
    facts = {
        "encoded": f"in {done.encode_seconds:.2f} s, {seconds / done.encode_seconds:.1f} times real time",
        "decoded": f"in {done.decode_seconds:.2f} s, {seconds / done.decode_seconds:.1f} times real time",
    }
    sounds = {"original": original, "reconstruction": target}
    return original, _shown(clip.stem, sounds, done.latents, facts, progress)


def decode(coder: Coder, latents: Latents, name: str, folder: Path, progress: NamedProgress) -> Heard:
    """Latents, from a file or edited, as sound.

    Raises:
        InputError: latents of another model.
    """
    target, begun = folder / "decoded.wav", time.perf_counter()
    blocks = coder.codec.decompress_blocks(
        latents, seed=coder.seed, num_steps=coder.num_steps, progress=_part(progress, "decoding", 0, 0.9)
    )
    write_audio(target, blocks, latents.sample_rate, latents.channels, latents.num_samples)
    took = time.perf_counter() - begun
    facts = {"decoded": f"in {took:.2f} s, {latents.duration / took:.1f} times real time"}
    return _shown(name, {"decoded": target}, latents, facts, progress)


def _shown(
    name: str, sounds: dict[str, Path], latents: Latents, facts: dict[str, str], progress: NamedProgress
) -> Heard:
    """The picture, the table and the latents' file beside the last of the sounds."""
    progress("drawing", 0.9)
    audio = list(sounds.values())[-1]
    picture, kept = audio.with_name("picture.png"), audio.with_name(f"{name}{SUFFIX}")
    plot_sounds(sounds, latents, picture)
    latents.save(kept)
    known = {
        "sound": f"{latents.duration:.2f} s, {latents.channels} channels, {latents.sample_rate} Hz",
        "latents": f"{' x '.join(map(str, latents.shape))}, {latents.frame_rate:.2f} per second, by {latents.model_id}",
        "bitrate": f"{latents.bitrate():.1f} kbit/s, 16 bits per number",
    }
    return Heard(audio=audio, picture=picture, latents=latents, kept=kept, facts=facts_html(name, known | facts))


def _part(progress: NamedProgress, what: str, start: float, stop: float) -> Progress:
    """The progress of one of several pieces of work."""
    return lambda done: progress(what, start + done * (stop - start))


def encode_both(
    codec: EncoderDecoder,
    clips: tuple[Path, Path],
    known: dict[tuple[str, Path], Latents],
    progress: NamedProgress,
) -> dict[tuple[str, Path], Latents]:
    """Latents of two clips by the model's fingerprint and the clip, as `known` where they are."""
    found = {}
    for number, clip in enumerate(clips):
        key = codec.fingerprint, clip
        shown: Callable[[float], None] = _part(progress, f"encoding {clip.name}", number / 2, number / 2 + 0.5)
        found[key] = known.get(key) or codec.compress(clip, progress=shown)
    return found
