from __future__ import annotations

import hashlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from music2latent.audio import open_audio
from music2latent.dataset import reading
from music2latent.dataset.inputs import Input, find
from music2latent.dataset.reading import Facts, Failure, Part, Readers, content_hash, reader
from music2latent.resampling import resample

from ..helpers import posix
from .inline import sounds


def _joined(parts: list[tuple[int, Part | None]], number: int) -> Any:
    own = [part for index, part in parts if index == number]
    assert own[-1] is None
    return own[0], np.concatenate([part for part in own[1:-1] if isinstance(part, np.ndarray)], axis=-1)


def poisoned(rate: int, options: Any) -> Any:
    """A reader whose process dies of some files."""
    read = reader(rate, options)

    def die(one: Input) -> Iterator[Part]:
        for count, part in enumerate(read(one)):
            if "poison" in one.source and count == 2:
                os.kill(os.getpid(), signal.SIGSEGV)
            once = Path(one.path).with_suffix(".once")
            if "fragile" in one.source and count == 2 and not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield part

    return die


@posix
def test_many_processes_give_what_one_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sounds(tmp_path / "audio", [300_000, 3000, 4000, 500_000, 5000], rate=48000, channels=2)
    (folder / "000.wav").rename(folder / "fragile.wav")
    (folder / "001.wav").rename(folder / "text.wav")
    (folder / "text.wav").write_text("text")
    (folder / "003.wav").rename(folder / "poison.wav")
    inputs = [*find([str(folder)]), Input(source="x", name="x", suffix="", path="x", problem="known to be bad")]
    monkeypatch.setattr(reading, "reader", poisoned)
    readers = Readers(2, 44100, None)
    try:
        parts = list(readers.read(inputs))
        assert [number for number, part in parts if part is None] == list(range(6))
        names = [Path(one.source).stem for one in inputs]
        for number, (one, name) in enumerate(zip(inputs, names, strict=True)):
            if name in ("002", "004", "fragile"):
                facts, samples = _joined(parts, number)
                source = open_audio(one.path)
                expected = np.concatenate(list(resample(source.blocks(), 2, 48000, 44100)), axis=-1)
                assert np.array_equal(samples, expected)
                digest = hashlib.sha256(Path(one.path).read_bytes()).hexdigest()
                assert facts == Facts(
                    hash=digest, size=one.size or 0, sample_rate=48000, channels=2, num_samples=source.num_samples
                )
            else:
                (failure,) = (part for index, part in parts if index == number and isinstance(part, Failure))
                expected_reason = {"text": "not audio", "poison": "failed twice.*SIGSEGV", "x": "known to be bad"}[name]
                assert re.search(expected_reason, failure.reason), failure.reason
        given_up = readers.read(inputs)
        assert next(given_up)[0] == 0
        given_up.close()  # readers can be used again
        assert len([part for _, part in readers.read(inputs[:2]) if part is None]) == 2
    finally:
        readers.close()


def test_hashes(tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [3000])
    (one,) = find([str(folder)])
    assert content_hash(one, None) == hashlib.sha256((folder / "000.wav").read_bytes()).hexdigest()
    (folder / "000.wav").unlink()
    assert content_hash(one, None) == ""
