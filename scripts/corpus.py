"""A training and a validation set from music and speech that Debian ships, and a compact copy of the training set.

python scripts/corpus.py OUT                               OUT/train, OUT/validation, OUT/manifest.json
python scripts/corpus.py OUT --pack DIR --megabytes 110    the training set as mono opus files as well

Packages are fetched with `apt-get download` and unpacked with `dpkg -x`; nothing is installed. See docs/corpus.md.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import typer
from corpus_pack import MANIFEST, Track, complete, digest, pack, write_manifest
from corpus_sources import SOURCES, Source

from music2latent.audio import FORMATS, open_audio
from music2latent.errors import InputError
from music2latent.files import replacing, walk

LISTED = Path(__file__).with_name("corpus-validation.txt")
MIN_SAMPLE_RATE = 22050  # Hz; below it hardly anything is left of what makes music
FREE = re.compile(r"L?GPL-[123].*|GFDL-1.*|CC0.*|CC-BY(-SA)?-[1-4].*|Expat|MIT|BSD-.*|public-domain|no-copyright")


# ---- packages


def _command(*arguments: str | Path, folder: Path) -> str:
    """Run a program of Debian's and return what it prints.

    Raises:
        InputError: it is missing or fails; with the last line that it printed.
    """
    command = [str(argument) for argument in arguments]
    if shutil.which(command[0]) is None:
        raise InputError(f"{command[0]}: not found; the corpus comes out of Debian packages, so run this on Debian 12")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise InputError(f"{' '.join(command)}: failed ({reason}); is this Debian 12, updated, online?")
    return done.stdout


def fetch(package: str, cache: Path) -> Path:
    """The .deb of a package, downloaded unless the cache has one."""
    cache.mkdir(parents=True, exist_ok=True)
    if not (kept := sorted(cache.glob(f"{package}_*.deb"))):
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache) as folder:
            _command("apt-get", "download", package, folder=Path(folder))
            kept = [file.replace(cache / file.name) for file in Path(folder).glob("*.deb")]
    return kept[-1]


def unpack(deb: Path, tree: Path) -> str:
    """Unpack a .deb, and every pk3 in it to a folder of the archive's own name. Returns the package's version."""
    tree.mkdir(parents=True)
    _command("dpkg", "-x", deb.resolve(), tree.resolve(), folder=tree)
    expand(tree)
    return _command("dpkg-deb", "--field", deb.resolve(), "Version", folder=tree).strip()


def expand(tree: Path) -> None:
    """Turn every pk3, which is a zip archive, into a folder of the same name."""
    for archive in sorted(tree.rglob("*.pk3")):
        packed = archive.rename(archive.with_suffix(".zip"))
        try:
            with zipfile.ZipFile(packed) as file:
                file.extractall(archive)
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{archive}: cannot be unpacked ({error})") from error


class Copyright:
    """A package's copyright file: licence and author of each of its files."""

    def __init__(self, text: str, source: Source) -> None:
        self.source = source
        if source.stated and source.stated.evidence not in " ".join(text.split()):
            raise InputError(
                f"{source.package}: its copyright file no longer says {source.stated.evidence!r}; "
                "read it again and correct SOURCES"
            )
        stanzas = [dict(re.findall(r"^(\w+):((?:.*)(?:\n[ \t].*)*)", s, re.M)) for s in re.split(r"\n\s*\n", text)]
        self.stanzas = [s for s in stanzas if {"Files", "License", "Copyright"} <= set(s)]

    def of(self, member: str) -> tuple[str, str]:
        """Licence and author; the last of the stanzas that match counts, as Debian's format has it."""
        if self.source.stated:
            return self.source.stated.licence, self.source.stated.author
        path = self.source.origin + member
        for stanza in reversed(self.stanzas):
            if any(fnmatchcase(path, pattern) for pattern in stanza["Files"].split()):
                author = "; ".join(line.strip() for line in stanza["Copyright"].strip().splitlines())
                return stanza["License"].strip().splitlines()[0], author
        raise InputError(f"{self.source.package}: no licence for {path} in its copyright file; correct SOURCES")


def is_free(licence: str) -> bool:
    """Whether every licence of "A or B", "A and B" is one that lets everybody use, change and share."""
    return all(FREE.fullmatch(part) for part in re.split(r" or | and |, ", licence))


# ---- the corpus


def build(out: Path, listed: Path, sources: tuple[Source, ...] = SOURCES) -> list[Track]:
    """Fetch, unpack, split and lay out everything, unless the same recipe's corpus is there already."""
    validation = read_list(listed)
    recipe = digest(repr((sources, sorted(validation), MIN_SAMPLE_RATE)).encode())
    if rows := complete(out, recipe):
        return [Track(**row) for row in rows]
    cache = out / "cache"
    for left_behind in [*cache.glob("unpacked-*"), *cache.glob("fetching-*")]:  # by a run that was killed
        shutil.rmtree(left_behind)
    packages = list(dict.fromkeys(source.package for source in sources))
    debs = {package: fetch(package, cache) for package in packages}
    with tempfile.TemporaryDirectory(prefix="unpacked-", dir=cache) as folder:
        trees = {package: Path(folder) / package for package in packages}
        versions = {package: unpack(debs[package], trees[package]) for package in packages}
        tracks = assemble(out, trees, versions, validation, sources)
    write_manifest(out, recipe, [asdict(track) for track in tracks])
    return tracks


def read_list(file: Path) -> set[str]:
    """The lines of a list of tracks and folders, without comments."""
    if not file.is_file():
        raise InputError(f"{file}: no such file; expected the list of validation tracks")
    lines = (line.split("#")[0].strip().rstrip("/") for line in file.read_text().splitlines())
    return {line for line in lines if line}


def assemble(
    out: Path, trees: dict[str, Path], versions: dict[str, str], validation: set[str], sources: tuple[Source, ...]
) -> list[Track]:
    """Move the audio out of unpacked packages to `out`, each piece of it once, and remove what belongs there no more.

    Raises:
        InputError: a package without audio where it is expected, or a validation track that no package has.
    """
    left_out: Counter[str] = Counter()
    found = [pair for s in sources for pair in collect(trees[s.package], s, versions[s.package], validation, left_out)]
    names = {"/".join(Path(track.path).parts[2:]) for track, _ in found}
    if missing := sorted(line for line in validation if not any(_is_in(name, line) for name in names)):
        raise InputError(f"validation tracks that are in no package: {', '.join(missing)}; correct the list")
    (out / MANIFEST).unlink(missing_ok=True)  # from here on, until it is written again, it would not be true
    tracks: dict[str, Track] = {}
    # Of doubles the validation set keeps its one, so that nothing in it is also trained on.
    for track, file in sorted(found, key=lambda pair: (pair[0].split == "train", pair[0].path)):
        if tracks.setdefault(track.sha256, track) is not track:
            left_out["doubles"] += 1
            continue
        target = out / track.path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
    for package, tree in trees.items():
        with replacing(out / "licences" / package) as partial:
            shutil.copyfile(tree / "usr/share/doc" / package / "copyright", partial)
    kept = {out / track.path for track in tracks.values()}
    for stale in {file for split in ("train", "validation") for file in walk(out / split, FORMATS)} - kept:
        stale.unlink()
    typer.echo(f"left out: {', '.join(f'{count} {reason}' for reason, count in sorted(left_out.items())) or 'nothing'}")
    return sorted(tracks.values(), key=lambda track: track.path)


def collect(
    tree: Path, source: Source, version: str, validation: set[str], left_out: Counter[str]
) -> Iterator[tuple[Track, Path]]:
    """The tracks of one source and the files they are in; counts what is left out, by reason."""
    rights = Copyright((tree / "usr/share/doc" / source.package / "copyright").read_text(errors="replace"), source)
    files = [file for file in walk(tree / source.root, FORMATS) if not file.is_symlink()]
    if not files:
        raise InputError(f"{source.package}: no audio under {source.root}; the package has changed, correct SOURCES")
    for file in files:
        member = file.relative_to(tree / source.root).as_posix()
        if not (match := re.fullmatch(source.pattern, member.removesuffix(file.suffix))):
            continue
        licence, author = rights.of(member)
        if not is_free(licence):
            left_out[f"under {licence}"] += 1
            continue
        try:
            audio = open_audio(file)
        except InputError:
            left_out["damaged or not audio"] += 1
            continue
        if audio.sample_rate < MIN_SAMPLE_RATE:
            left_out[f"below {MIN_SAMPLE_RATE} Hz"] += 1
            continue
        voice = (match.groupdict().get("voice") or "en") if source.kind == "speech" else ""
        name = "/".join(filter(None, (source.package, voice, match["track"] + file.suffix)))
        split = "validation" if any(_is_in(name, line) for line in validation) else "train"
        data = file.read_bytes()
        track = Track(
            path=f"{split}/{source.kind}/{name}",
            bytes=len(data),
            split=split,
            kind=source.kind,
            package=source.package,
            version=version,
            member=source.root + member,
            voice=voice,
            licence=licence,
            author=author,
            sha256=digest(data),
            seconds=round(audio.duration, 3),
            sample_rate=audio.sample_rate,
            channels=audio.channels,
        )
        yield track, file


def _is_in(name: str, line: str) -> bool:
    return f"{name}/".startswith(f"{line}/")


# ---- the command


def report(title: str, rows: list[dict[str, Any]]) -> None:
    """Print files, hours and megabytes of each kind."""
    for kind in sorted({row["kind"] for row in rows}):
        of = [row for row in rows if row["kind"] == kind]
        hours, size = sum(row["seconds"] for row in of) / 3600, sum(row["bytes"] for row in of) / 1e6
        typer.echo(f"{title:<11} {kind:<7} {len(of):6d} files {hours:7.2f} h {size:8.1f} MB")


def main(
    out: Annotated[Path, typer.Argument(help="Folder of the corpus.")],
    listed: Annotated[Path, typer.Option("--validation", help="List of validation tracks and folders.")] = LISTED,
    packed: Annotated[Path | None, typer.Option("--pack", help="Folder for a compact copy of it.")] = None,
    megabytes: Annotated[float | None, typer.Option(min=0.01, help="Size of it, 10^6 bytes, at most.")] = None,
    kilobits: Annotated[int, typer.Option(min=6, max=256, help="Bit rate under which rather less is kept.")] = 48,
) -> None:
    """Build the training and validation sets in OUT; run it again to go on after an interruption."""
    try:
        if (packed is None) != (megabytes is None):
            raise InputError("--pack and --megabytes belong together; give both")
        rows = [asdict(track) for track in build(out, listed)]
        for split in ("train", "validation"):
            report(split, [row for row in rows if row["split"] == split])
        if packed and megabytes:
            report("packed", pack(out, packed, megabytes, kilobits))
    except (InputError, OSError) as error:  # OSError: a full disk, a folder that cannot be written to
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


if __name__ == "__main__":
    typer.run(main)
