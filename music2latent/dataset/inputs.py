"""What is to be encoded, found as a stream: folders, globs, manifests, WebDataset tars, tables of Hugging Face."""

from __future__ import annotations

import csv
import io
import json
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import sha256
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from ..audio import FORMATS
from ..errors import InputError, printable
from ..extras import require
from ..files import walk
from ..opening import is_url
from .storage import again, open_filesystem

MANIFESTS = (".csv", ".jsonl", ".parquet")
_LOOKUPS = 32
"""Files of a manifest that a remote storage is asked about at the same time."""

_LONGEST_NAME = 200  # bytes of a folder's or file's name; file systems hold 255


@dataclass(frozen=True, kw_only=True)
class Input:
    """One piece of audio to be encoded, and where it is."""

    source: str
    """Names it, once in a data set: a path or URL, and what is named in that file after `::`."""
    name: str
    """Its path below what was given, without suffix: what its latents are called."""
    suffix: str
    """Of the audio, in lower case."""
    size: int | None = None
    """Bytes, where known."""
    etag: str | None = None
    """Changes with the content: the storage's own, or the time of the last change."""
    seconds: float | None = None
    """Duration, where a manifest has it."""
    path: str
    """The file that has it."""
    offset: int | None = None
    """Where it begins in that file, if that is a tar."""
    row: tuple[int, int, str] | None = None
    """Group, row and column of it in that file, if that is a table."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """What a manifest, tar or table says about it."""
    problem: str | None = None
    """Why it cannot be encoded, where that was seen already."""
    content: str | None = None
    """SHA-256 of its bytes, where inputs of equal content are looked for."""
    same_as: str | None = None
    """An input of equal content, which is encoded in place of this one."""

    @property
    def id(self) -> str:
        """Its source as databases take it: names of files may be no Unicode."""
        return self.source.encode(errors="backslashreplace").decode()

    @property
    def state(self) -> str:
        """Changes with what is to be encoded."""
        facts = (self.size, self.etag, self.offset, self.row, self.metadata, self.problem)
        return sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """One line."""
        return json.dumps({key: value for key, value in asdict(self).items() if value not in (None, {})})

    @classmethod
    def from_json(cls, line: str | bytes) -> Input:
        """What `to_json` wrote."""
        found = json.loads(line)
        if "row" in found:
            found["row"] = tuple(found["row"])
        return cls(**{key.name: found[key.name] for key in fields(cls) if key.name in found})


def find(names: Iterable[str], options: dict[str, Any] | None = None) -> Iterator[Input]:
    """Everything that these name, as it is found; the order is that of the names, then of sorted paths or rows.

    Args:
        names: paths or fsspec URLs of audio files, folders, globs (`**` too), manifests (`.csv`, `.jsonl` or `.parquet`
            with a column `path`), WebDataset tars, or Parquet files with a column of audio. Folders are searched for
            audio, tars and Parquet files.
        options: for fsspec (credentials, endpoints).

    Raises:
        InputError: a name that leads nowhere, a storage that cannot be read, a manifest without its column.
    """
    for name in names:
        count = 0
        for one in _below(name, options):
            yield _checked(one)
            count += 1
        if not count:
            raise InputError(
                f"{printable(name)}: nothing to encode there; looked for {' '.join(FORMATS)} .tar .parquet"
            )


def _below(name: str, options: dict[str, Any] | None) -> Iterator[Input]:
    local = not is_url(name)
    fs, path = open_filesystem(str(Path(name).absolute()) if local else name, options)
    place = _Place(fs, "" if local else f"{name.partition('://')[0]}://")
    if re.search(r"[*?\[]", path) and not (local and Path(path).exists()):
        yield from _glob(place, path)
        return
    try:
        facts = place.info(path)
    except FileNotFoundError as error:
        raise InputError(f"{printable(name)}: no such file, folder or bucket") from error
    if facts["type"] == "directory":
        yield from _folder(place, path.rstrip("/"), path.rstrip("/"), lambda _: True)
    else:
        yield from _file(place, path, posixpath.dirname(path), facts)


class _Place:
    """A file system, and what its paths begin with in a URL."""

    def __init__(self, fs: Any, prefix: str) -> None:
        self.fs, self.prefix = fs, prefix
        self.is_local = not prefix

    def url(self, path: str) -> str:
        return path if "://" in path else self.prefix + path

    def info(self, path: str) -> dict[str, Any]:
        return again(self.url(path), lambda: self.fs.info(path))

    def open(self, path: str) -> Any:
        return again(self.url(path), lambda: self.fs.open(path, "rb"))


def _glob(place: _Place, pattern: str) -> Iterator[Input]:
    from fsspec.utils import glob_translate

    matches = re.compile(glob_translate(pattern)).match
    root = re.split(r"[*?\[]", pattern)[0].rpartition("/")[0]
    yield from _folder(place, root, root, lambda path: bool(matches(path)))


def _folder(place: _Place, folder: str, root: str, wanted: Callable[[str], bool]) -> Iterator[Input]:
    """Files below a folder in the order of their paths; one folder's names are held at a time."""
    suffixes = (*FORMATS, ".tar", ".parquet")
    if place.is_local:
        for path in walk(Path(folder), suffixes):
            if wanted(str(path)):
                yield from _file(place, str(path), root, place.info(str(path)))
        return
    try:
        entries = again(place.url(folder), lambda: place.fs.ls(folder, detail=True))
    except FileNotFoundError as error:
        raise InputError(f"{printable(place.url(folder))}: no such folder or bucket") from error
    for entry in sorted(entries, key=lambda entry: entry["name"]):
        path = entry["name"].rstrip("/")
        if posixpath.basename(path).startswith(".") or path == folder:
            continue
        if entry["type"] == "directory":
            yield from _folder(place, path, root, wanted)
        elif path.lower().endswith(suffixes) and wanted(path):
            yield from _file(place, path, root, entry)


def _file(place: _Place, path: str, root: str, facts: dict[str, Any]) -> Iterator[Input]:
    suffix = posixpath.splitext(path)[1].lower()
    if suffix == ".tar":
        yield from _tar(place, path, root, facts)
    elif suffix == ".parquet":
        yield from _parquet(place, path, root, facts)
    elif suffix in MANIFESTS:
        yield from _manifest(place, path, _csv_rows(place, path) if suffix == ".csv" else _jsonl_rows(place, path))
    else:
        yield _audio(place, path, root, facts)


def _audio(place: _Place, path: str, root: str, facts: dict[str, Any], **more: Any) -> Input:
    return Input(
        source=place.url(path),
        path=place.url(path),
        suffix=posixpath.splitext(path)[1].lower(),
        size=facts.get("size"),
        etag=_etag(facts),
        **{"name": posixpath.splitext(posixpath.relpath(path, root or "/"))[0]} | more,
    )


def _etag(facts: dict[str, Any]) -> str | None:
    for key in ("ETag", "etag", "mtime", "LastModified", "last_modified", "created"):
        if facts.get(key) is not None:
            return str(facts[key])
    return None


# ------------------------------------------------------------------------------------------------ manifests


def _csv_rows(place: _Place, path: str) -> Iterator[dict[str, Any]]:
    with place.open(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        reader = csv.DictReader(text)
        for row in reader:
            if None in row or None in row.values():
                raise InputError(f"{place.url(path)}: line {reader.line_num} has not as many fields as the first line")
            yield {str(key): value for key, value in row.items() if value != "" or key == "path"}


def _jsonl_rows(place: _Place, path: str) -> Iterator[dict[str, Any]]:
    with place.open(path) as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line) if line.strip() else None
            except ValueError as error:
                raise InputError(f"{place.url(path)}: line {number} is no JSON; expected an object a line") from error
            if row is not None:
                if not isinstance(row, dict):
                    raise InputError(f"{place.url(path)}: line {number} is no object; expected one with a key path")
                yield row


def _manifest(place: _Place, path: str, rows: Iterable[dict[str, Any]]) -> Iterator[Input]:
    """A manifest's rows, in order; several are looked up at a time where that takes long."""
    numbered = enumerate(rows, 1)
    if place.is_local:
        yield from (_row(place, path, *one) for one in numbered)
        return
    with ThreadPoolExecutor(_LOOKUPS) as pool:
        while batch := list(islice(numbered, 8 * _LOOKUPS)):
            yield from pool.map(lambda one: _row(place, path, *one), batch)


def _row(manifest: _Place, manifest_path: str, number: int, row: dict[str, Any]) -> Input:
    """One row: `path` is looked up, relative to the manifest's folder; `key`, `size`, `etag` and `seconds` are used."""
    if "path" not in row:
        raise InputError(
            f"{manifest.url(manifest_path)}: row {number} has no column path; it has {', '.join(map(str, row))}"
        )
    named = str(row["path"] or "")
    metadata = {key: value for key, value in row.items() if key not in ("path", "key")}
    folder = posixpath.dirname(manifest_path)
    if not named:
        source = f"{manifest.url(manifest_path)}::{number}"
        return Input(source=source, name="", suffix="", path=source, problem="a row without a path", metadata=metadata)
    if is_url(named):
        fs, path = open_filesystem(named)
        place, name = _Place(fs, f"{named.partition('://')[0]}://"), path.lstrip("/")
    else:
        place = manifest
        path = named if named.startswith("/") else posixpath.normpath(posixpath.join(folder, named))
        name = named.lstrip("/")
    more: dict[str, Any] = {"name": str(row.get("key") or posixpath.splitext(name)[0]), "metadata": metadata}
    if "seconds" in row or "duration" in row:
        more["seconds"] = float(row["seconds"] if "seconds" in row else row["duration"])
    try:
        facts = {"size": int(row["size"]), "etag": row["etag"]} if {"size", "etag"} <= set(row) else place.info(path)
        if facts.get("type") == "directory":
            more["problem"] = "a folder, expected an audio file"
    except FileNotFoundError:
        facts, more["problem"] = {}, "no such file"
    return _audio(place, path, "/", facts, **more)


# ------------------------------------------------------------------------------------------------ tars, tables


def _tar(place: _Place, path: str, root: str, facts: dict[str, Any]) -> Iterator[Input]:
    """Audio of a WebDataset tar, with what its `.json` and `.txt` members say."""
    shard = posixpath.splitext(posixpath.relpath(path, root or "/"))[0]
    metadata: dict[str, Any] = {}
    audio: list[tarfile.TarInfo] = []
    key = None

    def group() -> Iterator[Input]:
        for member in audio:
            suffix = PurePosixPath(member.name).suffix.lower()
            yield Input(
                source=f"{place.url(path)}::{member.name}",
                name=f"{shard}/{posixpath.splitext(member.name)[0]}",
                suffix=suffix,
                size=member.size,
                etag=_etag(facts),
                path=place.url(path),
                offset=member.offset_data,
                metadata=dict(metadata),
            )

    try:
        with place.open(path) as file, tarfile.open(fileobj=file) as tar:
            for member in tar:
                folder, _, base = member.name.rpartition("/")
                if (folder, base.partition(".")[0]) != key:
                    yield from group()
                    metadata, audio, key = {}, [], (folder, base.partition(".")[0])
                suffix = PurePosixPath(base).suffix.lower()
                if not member.isfile() or base.startswith("."):
                    continue
                if suffix in FORMATS:
                    audio.append(member)
                elif suffix in (".json", ".txt"):
                    content = tar.extractfile(member).read().decode()  # type: ignore[union-attr]
                    found = json.loads(content) if suffix == ".json" else {"text": content.strip()}
                    metadata |= found if isinstance(found, dict) else {base.partition(".")[2]: found}
                tar.members = []  # type: ignore[attr-defined]  # a tar of a million members is not held
            yield from group()
    except (tarfile.TarError, UnicodeDecodeError, ValueError, EOFError) as error:
        raise InputError(f"{printable(place.url(path))}: truncated, or not a tar of audio ({error})") from error


def _parquet(place: _Place, path: str, root: str, facts: dict[str, Any]) -> Iterator[Input]:
    """A table of Hugging Face's `datasets` with a column of audio (bytes and path), or a manifest."""
    require("dataset")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with place.open(path) as file, pq.ParquetFile(file) as table:
            schema = table.schema_arrow
            column = next((one.name for one in schema if _is_audio(one.type)), None)
            if column is None:
                yield from _manifest(place, path, (row for batch in table.iter_batches() for row in batch.to_pylist()))
                return
            others = [one.name for one in schema if one.name != column]
            shard = posixpath.splitext(posixpath.relpath(path, root or "/"))[0]
            for group in range(table.num_row_groups):
                rows = table.read_row_group(group, columns=[*others, f"{column}.path"]).to_pylist()
                for number, row in enumerate(rows):
                    named = (row.pop(column) or {}).get("path") or ""
                    yield Input(
                        source=f"{place.url(path)}::{group}.{number}",
                        name=f"{shard}/{posixpath.splitext(posixpath.basename(named))[0] or f'{group}.{number}'}",
                        suffix=posixpath.splitext(named)[1].lower(),
                        etag=_etag(facts),
                        path=place.url(path),
                        row=(group, number, column),
                        metadata=row,
                    )
    except pa.ArrowInvalid as error:
        raise InputError(f"{printable(place.url(path))}: truncated, or not a Parquet file ({error})") from error


def _is_audio(type: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_struct(type) and {"bytes", "path"} <= {type.field(i).name for i in range(type.num_fields)}


# ------------------------------------------------------------------------------------------------ names


def _checked(found: Input) -> Input:
    """With a problem noted, if latents cannot be called by its name."""
    if found.problem:
        return found
    parts = PurePosixPath(found.name).parts
    problem = None
    try:
        (found.source + found.name + json.dumps(found.metadata, ensure_ascii=False, default=str)).encode()
    except UnicodeEncodeError:
        problem = "its name is not UTF-8; rename it"
    if not problem and (not parts or found.name.startswith("/") or ".." in parts or "\0" in found.name):
        problem = f"its name {found.name!r} would leave the output; name it in a column key of a manifest"
    if not problem and max(len(part.encode()) for part in parts) > _LONGEST_NAME:
        problem = f"its name is longer than {_LONGEST_NAME} bytes; rename it"
    if found.size == 0:
        problem = "an empty file"
    try:
        json.dumps(found.metadata)
    except (TypeError, ValueError):
        metadata = json.loads(json.dumps(found.metadata, default=str))
        found = replace(found, metadata=metadata)
    return replace(found, problem=problem) if problem else found
