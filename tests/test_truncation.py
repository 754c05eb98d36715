"""A file that lost its end is refused, wherever it was cut, in every format that says how long it is."""

from __future__ import annotations

import io
import random
import struct
from contextlib import suppress

import numpy as np
import pytest
import soundfile

from music2latent import InputError, audio
from music2latent.truncation import says_nothing

from .helpers import sound

KINDS = [
    *(("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("WAVEX", "PCM_24"), ("AIFF", "PCM_16"), ("AIFF", "FLOAT")),
    *(("AU", "PCM_16"), ("AU", "FLOAT"), ("W64", "PCM_16"), ("W64", "ULAW"), ("RF64", "PCM_16"), ("RF64", "FLOAT")),
    *(("CAF", "PCM_16"), ("CAF", "ULAW"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")),
]
SAMPLES = 6000


def _content(format: str, subtype: str, samples: int = SAMPLES) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound(2, samples).T, 48000, format=format, subtype=subtype)
    return buffer.getvalue()


def _read(content: bytes) -> int:
    return sum(block.shape[1] for block in audio.open_audio(content).blocks())


@pytest.mark.parametrize(("format", "subtype"), KINDS)
def test_wherever_it_is_cut(format: str, subtype: str) -> None:
    content = _content(format, subtype)
    assert _read(content) == SAMPLES
    for cut in [1, 2, 3, *random.Random(0).sample(range(4, len(content)), 12)]:
        with pytest.raises(InputError):
            _read(content[:-cut])


@pytest.mark.parametrize(
    ("format", "size"),
    [("WAV", 0x7FFFF000), ("WAV", 0x7FFFFFFF), ("WAV", 0xFFFFFFFF), ("WAV", 0xFFFFFFFF - 44), ("AU", 0xFFFFFFFF)],
)
def test_sizes_that_a_writer_did_not_know(format: str, size: int) -> None:
    content = bytearray(_content(format, "PCM_16"))
    place, order = (8, ">I") if format == "AU" else (content.index(b"data") + 4, "<I")
    content[place : place + 4] = struct.pack(order, size)
    assert _read(bytes(content)) == SAMPLES


def test_a_size_of_3_gb_is_one() -> None:
    content = bytearray(_content("WAV", "PCM_16"))
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", 3 * 10**9)
    with pytest.raises(InputError, match="truncated"):
        _read(bytes(content))
    assert not says_nothing(2**32 + 0x7FFFF000)
    assert says_nothing(0)


MUTATED = [*KINDS, ("MP3", "MPEG_LAYER_III"), ("WAV", "IMA_ADPCM"), ("CAF", "ALAC_16")]


@pytest.mark.parametrize(("format", "subtype"), MUTATED)
def test_damaged_files_give_samples_or_one_line(format: str, subtype: str) -> None:
    """Bytes changed, mostly in the header: nothing but an InputError, or finite samples."""
    content, rng = _content(format, subtype, 3000), np.random.default_rng(0)
    for number in range(20):
        damaged = np.frombuffer(content, np.uint8).copy()
        places = rng.integers(0, min(len(content), 300) if number % 4 else len(content), 1 + number % 5)
        damaged[places] = rng.choice([0, 1, 127, 128, 255], len(places))
        with suppress(InputError):
            source = audio.open_audio(damaged.tobytes())
            for block in source.blocks():
                assert block.shape[0] == source.channels
                assert np.isfinite(block).all()


def test_an_ogg_stream_that_begins_before_zero_is_whole() -> None:
    """libsndfile counts what it leaves out there, up to half a block of 8192 samples."""
    file = io.BytesIO()
    soundfile.write(file, sound(1, 20_000)[0], 44100, format="OGG", subtype="VORBIS")
    counted = audio._sound_blocks(file, "it", 20_448, "OGG")
    assert sum(block.shape[1] for block in counted) == 20_000
    with pytest.raises(InputError, match="truncated"):
        list(audio._sound_blocks(file, "it", 24_097, "OGG"))
