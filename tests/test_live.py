"""`music2latent live`: sound from one pipe to another."""

from __future__ import annotations

import io

import numpy as np
import pytest
import soundfile
import torch

from music2latent import EncoderDecoder, InputError, live
from music2latent.streaming import LIVE, StreamDecoder, StreamEncoder

from .helpers import noise


def _wave(audio: np.ndarray, rate: int, subtype: str = "PCM_16", format: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.T, rate, format=format, subtype=subtype)
    return buffer.getvalue()


def _live(codec: EncoderDecoder, data: bytes, **options: object) -> bytes:
    target = io.BytesIO()
    settings = {"sample_rate": None, "channels": 1, "seed": 0} | options
    live.run(io.BytesIO(data), target, codec, LIVE, **settings)  # type: ignore[arg-type]
    return target.getvalue()


def test_a_wav_stream_comes_back_as_the_codec_makes_it(tiny: EncoderDecoder) -> None:
    signal = noise(2, 30001)
    data = _wave(signal, 48000)
    samples = np.frombuffer(data[-30001 * 4 :], "<i2").reshape(-1, 2).T
    encoder = StreamEncoder(tiny, sample_rate=48000, channels=2)
    decoder = StreamDecoder(tiny, sample_rate=48000, channels=2)
    latents = torch.cat([encoder.push(samples), encoder.flush()], dim=-1)
    expected = np.concatenate([decoder.push(latents), decoder.flush(30001)], axis=1)
    out = _live(tiny, data)
    assert out[:4] == b"RIFF"
    found = np.frombuffer(out[44:], "<i2").reshape(-1, 2).T
    assert np.array_equal(found, (expected.astype(np.float64) * 32767).round())  # in float32 a product may be a tie
    raw = _live(tiny, data[44:], sample_rate=48000, channels=2)
    assert raw == out[44:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        *((b"junk", "not a WAV stream"), (b"", "not a WAV stream"), (_wave(noise(1, 0), 8000), "without samples")),
        (_wave(noise(1, 9000), 8000)[:-500], "ended 500 bytes before its header says"),
    ],
)
def test_live_refuses_what_is_no_sound(tiny: EncoderDecoder, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _live(tiny, data)


@pytest.mark.parametrize("format", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT"])
def test_what_comes_out_is_as_what_came_in(tiny: EncoderDecoder, subtype: str, format: str) -> None:
    signal = noise(1, 9001)
    out = io.BytesIO(_live(tiny, _wave(signal, 44100, subtype, format) + b"LIST\4\0\0\0tail"))
    assert soundfile.info(out).subtype == subtype
    out.seek(0)
    found, _ = soundfile.read(out, dtype="float32")
    plain = io.BytesIO(_live(tiny, _wave(signal, 44100)))
    expected, _ = soundfile.read(plain, dtype="float32")
    assert len(found) == 9001
    assert np.abs(found - expected).max() < 0.05  # 16 bits in are not quite 24 bits in


def test_rates_and_channels_out_of_range(tiny: EncoderDecoder) -> None:
    for options in ({"sample_rate": 1}, {"sample_rate": 44100, "channels": 2**31}):
        with pytest.raises(InputError, match="accepted: whole numbers from"):
            _live(tiny, bytes(1000), **options)
