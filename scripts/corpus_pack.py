"""The compact copy of a corpus, for scripts/corpus.py: its training set as mono opus files that fill a given size.

What it starts from is the manifest, so tracks and manifests are defined here too.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import typer

from music2latent.audio import BLOCK_SAMPLES
from music2latent.errors import InputError
from music2latent.files import replacing
from music2latent.resampling import resample

MANIFEST = "manifest.json"
PACK_RATE = 48000  # Hz, what opus works at inside
PACK_GAP = 0.1  # seconds of silence after each word of a voice
SPEECH_SHARE = 0.2  # of the seconds, where not everything can be kept: words are many, and say less than music does
OPUS_KILOBITS = (6, 256)  # what libsndfile maps its compression levels 1 to 0 to, per channel
ASSUMED_OVERHEAD = 1.03  # bytes over bit rate times seconds, measured at 48 kbit/s as 1.02


# ---- the manifest


@dataclass(frozen=True, kw_only=True)
class Track:
    """One file of the corpus; `path` is relative to the folder of the corpus, `member` is its path in the package."""

    path: str
    bytes: int
    split: str
    kind: str
    package: str
    version: str
    member: str
    voice: str
    licence: str
    author: str
    sha256: str
    seconds: float
    sample_rate: int
    channels: int


def digest(data: bytes) -> str:
    """Its sha256, in hex."""
    return hashlib.sha256(data).hexdigest()


def write_manifest(folder: Path, recipe: str, rows: list[dict[str, Any]]) -> None:
    """One line per file, after the hash of the recipe that it was all made by."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    with replacing(folder / MANIFEST) as partial:
        partial.write_text(f'{{"recipe": "{recipe}", "files": [\n{lines}\n]}}\n', encoding="utf-8")


def complete(folder: Path, recipe: str) -> list[dict[str, Any]]:
    """The manifest's rows where it is of this recipe and every file is there in its length, else nothing."""
    if not (folder / MANIFEST).is_file():
        return []
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = manifest["files"]
    sizes = ((folder / row["path"], row["bytes"]) for row in rows)
    same = manifest["recipe"] == recipe and all(p.is_file() and p.stat().st_size == size for p, size in sizes)
    return rows if same else []


# ---- the compact copy


@dataclass(frozen=True)
class Part:
    """One packed file: `seconds` of a track from its middle, or words of one voice, one after another."""

    path: str
    tracks: tuple[Track, ...]
    seconds: float

    def row(self, size: int) -> dict[str, Any]:
        """Its line in the manifest."""
        first = self.tracks[0]
        facts = {key: getattr(first, key) for key in ("kind", "package", "version", "voice", "licence", "author")}
        sources = [track.path for track in self.tracks]
        return {"path": self.path, "bytes": size, "seconds": round(self.seconds, 3), **facts, "sources": sources}


def pack(out: Path, packed: Path, megabytes: float, kilobits: int = 48) -> list[dict[str, Any]]:
    """Re-encode the training set to mono opus files of `megabytes` (10^6 bytes) at most in all, manifest included.

    Where the bit rate would fall under `kilobits`, less of each track is kept instead. Returns the manifest's rows.
    """
    manifest = out / MANIFEST
    recipe = digest(manifest.read_bytes() + f"{megabytes} {kilobits} {PACK_RATE} {PACK_GAP} {SPEECH_SHARE}".encode())
    if rows := complete(packed, recipe):
        return rows
    if packed.exists() and (not packed.is_dir() or any(packed.iterdir())):
        raise InputError(f"{packed}: holds something else, or was packed otherwise; remove it or choose another --pack")
    tracks = [Track(**row) for row in json.loads(manifest.read_text(encoding="utf-8"))["files"]]
    partial = packed.with_name(f".{packed.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(out / "licences", partial / "licences")
    beside = sum(file.stat().st_size for file in (partial / "licences").iterdir())
    parts = plan([track for track in tracks if track.split == "train"], megabytes * 1e6 - beside, kilobits)
    rows = encode_all(parts, out, partial, int(megabytes * 1e6 - beside - _rows_size(parts)))
    write_manifest(partial, recipe, rows)
    if packed.exists():
        packed.rmdir()
    partial.rename(packed)
    return rows


def _rows_size(parts: list[Part]) -> int:
    return 200 + sum(len(json.dumps(part.row(10**7), ensure_ascii=False).encode()) + 2 for part in parts)


def plan(tracks: list[Track], budget: float, kilobits: int) -> list[Part]:
    """What is kept of which track and voice, so that `budget` bytes are enough at `kilobits` or more.

    Raises:
        InputError: a budget in which there is no room for a second of each.
    """
    music = [Part(f"{t.path.removeprefix('train/')}.opus", (t,), t.seconds) for t in tracks if t.kind == "music"]
    voices = defaultdict(list)
    for track in tracks:
        if track.kind == "speech":
            voices[track.package, track.voice, track.licence, track.author].append(track)
    speech = [
        _words(f"speech/{key[0]}/{index:03}-{key[1]}.opus", of, 1.0) for index, (key, of) in enumerate(voices.items())
    ]
    whole = sum(part.seconds for part in music + speech)
    room = (budget - _rows_size(music + speech)) / (kilobits * 125 * ASSUMED_OVERHEAD)  # seconds
    if room < len(music + speech):
        raise InputError(f"{budget / 1e6:.2f} MB for {len(music + speech)} tracks and voices is too little; give more")
    if whole > room:
        said, played = (sum(part.seconds for part in parts) for parts in (speech, music))
        spoken = min(said, max(SPEECH_SHARE * room, room - played))
        limit = _level([part.seconds for part in music], room - spoken)
        typer.echo(f"{whole / 3600:.2f} h do not fit at {kilobits} kbit/s: kept are {limit:.0f} s from the middle of a")
        typer.echo(f"longer track, and {spoken / said if said else 1:.0%} of the words of every voice")
        music = [Part(part.path, part.tracks, min(part.seconds, limit)) for part in music]
        speech = [_words(part.path, part.tracks, spoken / said) for part in speech]
    return music + speech


def _words(path: str, tracks: Sequence[Track], share: float) -> Part:
    """A share of a voice's words, drawn by their hashes: the same ones every time, from all over the package."""
    budget = share * sum(track.seconds + PACK_GAP for track in tracks) + 1e-6
    kept: list[Track] = []
    for track in sorted(tracks, key=lambda track: track.sha256):
        if track.seconds + PACK_GAP <= budget or not kept:
            kept.append(track)
            budget -= track.seconds + PACK_GAP
    kept.sort(key=lambda track: track.path)
    return Part(path, tuple(kept), sum(track.seconds + PACK_GAP for track in kept))


def _level(lengths: list[float], total: float) -> float:
    """The length at which all are to be cut for `total` in all: what the short ones leave goes to the long ones."""
    for index, length in enumerate(ordered := sorted(lengths)):
        if length * (len(ordered) - index) >= total:
            return total / (len(ordered) - index)
        total -= length
    return max(lengths, default=0.0)


def encode_all(parts: list[Part], out: Path, folder: Path, budget: int) -> list[dict[str, Any]]:
    """Encode every part at the bit rate that fills `budget` bytes, corrected as it goes by what the files come to."""
    used, nominal, rows = 0.0, 0.0, []
    for index, part in enumerate(parts):
        overhead = used / nominal if nominal else ASSUMED_OVERHEAD
        rest = 125 * sum(p.seconds for p in parts[index:])  # bytes per kbit/s
        rate = min((budget - used) / (rest * overhead), OPUS_KILOBITS[1])
        size = encode(part, out, folder / part.path, rate)
        while index == len(parts) - 1 and used + size > budget:  # nothing comes after it that could make up for it
            rate *= 0.98 * (budget - used) / size
            if rate < OPUS_KILOBITS[0]:
                raise InputError(f"{budget / 1e6:.2f} MB were not enough by a little; give a little more")
            size = encode(part, out, folder / part.path, rate)
        used, nominal = used + size, nominal + 125 * part.seconds * rate
        rows.append(part.row(size))
    return rows


def encode(part: Part, out: Path, target: Path, kilobits: float) -> int:
    """Write one opus file and return its size in bytes."""
    low, high = OPUS_KILOBITS
    level = min(max((high - kilobits) / (high - low), 0.0), 1.0)
    format = {"samplerate": PACK_RATE, "channels": 1, "format": "OGG", "subtype": "OPUS", "compression_level": level}
    try:
        with replacing(target) as partial, soundfile.SoundFile(partial, "w", **format) as file:
            for track in part.tracks:
                for block in _mono(out / track.path, part.seconds if track.kind == "music" else track.seconds):
                    file.write(np.clip(block[0], -1, 1))
                if track.kind == "speech":
                    file.write(np.zeros(int(PACK_GAP * PACK_RATE), np.float32))
    except soundfile.LibsndfileError as error:
        raise InputError(f"{target}: cannot be written ({error.error_string}); is the disk full?") from error
    return target.stat().st_size


def _mono(file: Path, seconds: float) -> Iterator[np.ndarray]:
    """The middle `seconds` of a file as blocks `[1, n]` at PACK_RATE, the mean of its channels."""
    facts = soundfile.info(file)
    frames = min(facts.frames, round(seconds * facts.samplerate))
    blocks: Iterable[np.ndarray] = soundfile.blocks(
        file, BLOCK_SAMPLES, start=(facts.frames - frames) // 2, frames=frames, dtype="float32", always_2d=True
    )
    yield from resample((block.mean(axis=1)[None] for block in blocks), 1, facts.samplerate, PACK_RATE)
