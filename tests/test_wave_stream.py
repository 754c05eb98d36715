"""WAV on a pipe: every kind of sample there and back, nothing read too far, and what is no WAV refused."""

from __future__ import annotations

import io
import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from music2latent import InputError
from music2latent.arrays import as_float
from music2latent.wave_stream import WaveStream, read_header

from .helpers import sound

KINDS = [("PCM_16", 16, False), ("PCM_24", 24, False), ("PCM_32", 32, False), ("FLOAT", 32, True)]


def _wav(subtype: str, format: str = "WAV", channels: int = 2) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(channels, 501).T, 48000, format=format, subtype=subtype)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
@pytest.mark.parametrize("channels", [1, 2, 7])
@pytest.mark.parametrize(("subtype", "bits", "is_float"), KINDS)
def test_reads_as_libsndfile_does(subtype: str, bits: int, is_float: bool, channels: int, format: str) -> None:
    content = _wav(subtype, format, channels)
    stream = io.BytesIO(content)
    wave = read_header(stream)
    size = 501 * channels * bits // 8
    assert wave == WaveStream(sample_rate=48000, channels=channels, bits=bits, is_float=is_float, num_bytes=size)
    expected = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0].T
    assert np.array_equal(as_float(wave.decode(stream.read(size)), block=True).numpy(), expected)


@pytest.mark.parametrize(("subtype", "bits", "is_float"), KINDS)
def test_what_is_written_is_read_again(subtype: str, bits: int, is_float: bool) -> None:
    samples = sound(3, 100)
    samples[:, :2] = [[1, -1]] * 3
    wave = WaveStream(sample_rate=96000, channels=3, bits=bits, is_float=is_float)
    content = wave.header() + wave.encode(samples)
    assert read_header(io.BytesIO(content)) == wave
    back, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == 96000
    np.testing.assert_allclose(back.T, samples, atol=1.6 * 2 ** (1 - min(bits, 24)))


@pytest.mark.parametrize("size", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_size_that_the_writer_did_not_know(size: int) -> None:
    content = bytearray(_wav("PCM_16"))
    content[40:44] = struct.pack("<I", size)
    assert read_header(io.BytesIO(content)).num_bytes is None


def test_further_chunks_are_passed_over() -> None:
    content = _wav("PCM_16")
    more = b"LIST" + struct.pack("<I", 200_001) + bytes(200_002)  # an odd size has a byte of padding
    stream = io.BytesIO(content[:12] + more + content[12:])
    assert read_header(stream).channels == 2
    assert stream.tell() == len(more) + 44


def _changed(place: int, kind: str, value: int) -> bytes:
    content = bytearray(_wav("PCM_16"))
    content[place : place + struct.calcsize(kind)] = struct.pack(kind, value)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"fLaC" + bytes(100), r"it begins with b'fLaC'\); for raw samples give --sample-rate"),
        (_wav("PCM_16")[:30], "it ends within its header"),
        (_wav("PCM_16")[:12] + b"data" + bytes(4), "no format before its samples"),
        (_wav("PCM_U8"), "format 1 with 8 bits; accepted: .* 16, 24 or 32 bits"),
        (_wav("ULAW"), "format 7 with 8 bits"),
        (_wav("DOUBLE"), "format 3 with 64 bits"),
        (_changed(24, "<I", 0), "sample_rate = 0; accepted: whole numbers from 1000 to 768000"),
        (_changed(24, "<I", 2**32 - 1), "sample_rate = 4294967295"),
        (_changed(22, "<H", 0), "channels = 0; accepted: whole numbers from 1 to 1024"),
        (_changed(22, "<H", 65535), "channels = 65535"),
        (_changed(32, "<H", 3), "3 bytes per sample, not 4"),
    ],
)
def test_refused(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_header(io.BytesIO(content))


@given(st.integers(0, 43), st.binary(min_size=1, max_size=8), st.sampled_from(KINDS))
def test_any_header_is_read_or_refused(place: int, junk: bytes, kind: tuple[str, Any, Any]) -> None:
    content = bytearray(_wav(kind[0], "WAVEX"))
    content[place : place + len(junk)] = junk
    with suppress(InputError):
        wave = read_header(io.BytesIO(content))
        assert wave.decode(bytes(10 * wave.width)).shape == (wave.channels, 10)
