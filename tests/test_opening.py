"""Whatever names audio - a path, a pipe, a URL, bytes, a file object - gives the same samples, or one line why not."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from music2latent import InputError, audio
from music2latent.opening import name_of

from .helpers import audio_file, posix

COMPRESSED = ["flac", "ogg", "mp3"]


def _read(file: Any) -> np.ndarray:
    source = audio.open_audio(file)
    first, again = (np.concatenate(list(source.blocks()), axis=1) for _ in range(2))
    assert np.array_equal(first, again)
    return first


class _Pipe(io.RawIOBase):
    """A file object that cannot seek, as standard input."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._content.readinto(buffer)


def _further_on(content: bytes) -> io.BytesIO:
    file = io.BytesIO(content)
    file.seek(77)
    return file


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, io.BytesIO, _further_on, _Pipe])
@pytest.mark.parametrize("suffix", ["wav", *COMPRESSED])
def test_bytes_and_file_objects(tmp_path: Path, suffix: str, make: Callable[[bytes], Any]) -> None:
    path = audio_file(tmp_path / f"a.{suffix}", 2)
    assert np.array_equal(_read(make(path.read_bytes())), _read(path))


def test_a_file_object_stays_open_and_may_be_used_again(tmp_path: Path) -> None:
    path = audio_file(tmp_path / "a.wav")
    with path.open("rb") as file:
        assert np.array_equal(_read(file), _read(file))
        assert not file.closed


def _feed(pipe: Path | int, content: bytes) -> None:
    with open(pipe, "wb") as file:
        file.write(content)


@posix
@pytest.mark.parametrize("suffix", ["wav", *COMPRESSED])
def test_pipes_with_a_name(tmp_path: Path, suffix: str) -> None:
    path, pipe = audio_file(tmp_path / f"a.{suffix}", samples=200_000), tmp_path / "pipe"
    os.mkfifo(pipe)
    reading, writing = os.pipe()
    for name, target in ((pipe, pipe), (f"/dev/fd/{reading}", writing)):
        thread = Thread(target=_feed, args=(target, path.read_bytes()))
        thread.start()
        assert np.array_equal(_read(name), _read(path))
        thread.join()
    os.close(reading)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_url(tmp_path: Path, kind: Callable[[str], Any]) -> None:
    fsspec = pytest.importorskip("fsspec")
    path = audio_file(tmp_path / "a.flac")
    fsspec.filesystem("memory").pipe("/a.flac", path.read_bytes())
    assert np.array_equal(_read(kind("memory://a.flac")), _read(path))


def test_a_url_without_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("memory://nothing.wav", "nonsense://a.wav"):
        with pytest.raises(InputError, match=rf"{url}: a URL that cannot be read \(.*\); download it first"):
            audio.open_audio(url)
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(InputError, match="a URL; to read it, run: pip install fsspec, or download it first"):
        audio.open_audio("https://example.org/a.wav")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("", "no such file"),
        ("a\0b.wav", "cannot be read"),
        ("x" * 300, "cannot be read"),
        (b"", "an empty file"),
        (b"once upon a time", "bytes: not audio"),
        (io.StringIO("text"), "a file of text; open it as bytes"),
        (_Pipe(b""), "or a stream that was read already"),
        (io.BytesIO(b"text"), "BytesIO: not audio"),
        pytest.param("/dev/zero", "a terminal or device", marks=posix),
        pytest.param("/dev/null", "a terminal or device", marks=posix),
    ],
)
def test_refused(file: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        audio.open_audio(file)
    assert "\n" not in str(refused.value)


def test_an_object_that_gives_text() -> None:
    class Text:
        def read(self, count: int = -1) -> str:
            return "text"

    with pytest.raises(InputError, match="reading it gives no bytes"):
        audio.open_audio(Text())  # type: ignore[arg-type]


@posix
@pytest.mark.parametrize("name", [b"\xff\xe9.flac", b"one\nline.wav", "ü 音.mp3".encode(), b"-a.wav", b"a:b.wav"])
def test_any_name_is_read_and_written(tmp_path: Path, name: bytes) -> None:
    path = audio_file(tmp_path / os.fsdecode(name))
    assert _read(path).shape == (1, 9000)
    assert audio.read_part(path, 10, 5).shape == (1, 5)
    path.write_bytes(path.read_bytes()[:99])
    with pytest.raises(InputError) as refused:
        _read(path)
    message = str(refused.value)
    assert message.isprintable()
    message.encode()  # no half of a character
    assert name_of(path) in message
