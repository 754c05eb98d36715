"""Streams give what the one-shot codec gives with the same windows, whatever the blocks; the past never changes."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from music2latent import EncoderDecoder, InputError, chunk_coding, live
from music2latent.chunks import WindowPlan
from music2latent.streaming import LIVE, StreamDecoder, StreamEncoder

from .helpers import CLIP

PLANS = [LIVE, WindowPlan(4, 2), WindowPlan(8, 2), WindowPlan(3, 0)]


def _noise(channels: int, n: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal((channels, n)).astype(np.float32)


def _encode(codec: EncoderDecoder, signal: np.ndarray, sizes: list[int], **options: object) -> list[torch.Tensor]:
    places = np.cumsum(sizes) if sizes else np.array([], int)
    with StreamEncoder(codec, channels=len(signal), **options) as stream:  # type: ignore[arg-type]
        parts = [stream.push(block) for block in np.split(signal, places[places < signal.shape[1]], axis=1)]
        return [*parts, stream.flush()]


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 60000), st.lists(st.integers(0, 30000), max_size=5), st.sampled_from(PLANS), st.integers(1, 2))
def test_streams_equal_the_whole(
    tiny: EncoderDecoder, n: int, sizes: list[int], plan: WindowPlan, channels: int
) -> None:
    signal = _noise(channels, n)
    whole = torch.cat(list(chunk_coding.encode_blocks(tiny.runner, [signal], plan)), dim=-1) / tiny.latent_scale
    latents = torch.cat(_encode(tiny, signal, sizes, plan=plan), dim=-1)
    assert torch.equal(latents, whole)
    audio = np.concatenate(
        list(chunk_coding.decode_blocks(tiny.runner, whole * tiny.latent_scale, plan, num_steps=1, seed=3)), axis=1
    )
    with StreamDecoder(tiny, channels=channels, plan=plan, seed=3) as stream:
        parts = [stream.push(part) for part in latents.split(1 + len(sizes), dim=-1)]
        parts.append(stream.flush(n))
    found = np.concatenate(parts, axis=1)
    assert found.shape == (channels, n)
    assert np.array_equal(found, audio[:, :n])


def test_other_rates_come_back_at_their_length(tiny: EncoderDecoder) -> None:
    signal = _noise(2, 50001)
    encoder = StreamEncoder(tiny, sample_rate=48000, channels=2)
    parts = [encoder.push(block) for block in np.array_split(signal, 7, axis=1)] + [encoder.flush()]
    decoder = StreamDecoder(tiny, sample_rate=48000, channels=2)
    out = [decoder.push(part) for part in parts] + [decoder.flush(encoder.num_samples)]
    assert np.concatenate(out, axis=1).shape == signal.shape


@pytest.mark.parametrize("plan", PLANS)
def test_later_input_never_changes_earlier_output(tiny: EncoderDecoder, plan: WindowPlan) -> None:
    one, two = _noise(1, 90000), _noise(1, 90000)
    two[:, 70000:] = _noise(1, 20000, seed=1)
    encoders = [StreamEncoder(tiny, plan=plan) for _ in range(2)]
    first = [encoder.push(signal[:, :70000]) for encoder, signal in zip(encoders, (one, two), strict=True)]
    assert torch.equal(*first)
    assert first[0].shape[-1] > 0
    rest = [encoder.push(signal[:, 70000:]) for encoder, signal in zip(encoders, (one, two), strict=True)]
    assert not torch.equal(*rest)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("block", [1, 512, 5000])
def test_latency_is_what_it_says_and_is_reached(tiny: EncoderDecoder, plan: WindowPlan, block: int) -> None:
    """At every moment the samples that are out lag behind those that are in by `latency` at most, and once by that."""
    encoder, decoder = StreamEncoder(tiny, plan=plan), StreamDecoder(tiny, plan=plan)
    signal, pushed, out, worst, first = _noise(1, 120000), 0, 0, 0, None
    if block == 1:  # a sample at a time around the interesting places only
        sizes = [plan.window * 4096 - 5] + [1] * 10 + [decoder.latency - plan.window * 4096 - 10] + [1] * 10
    else:
        sizes = [block] * (110000 // block)
    for size in sizes:
        latents = encoder.push(signal[:, pushed : pushed + size])
        worst = max(worst, pushed + size - out)  # just before what comes now
        pushed += size
        if latents.shape[-1] and first is None:
            first = pushed
        out += decoder.push(latents).shape[1]
        assert pushed - out < decoder.latency
    assert first is not None
    assert encoder.latency <= first < encoder.latency + block
    assert worst >= decoder.latency - block if block > 1 else True


def test_live_answers_within_three_quarters_of_a_second(mini: EncoderDecoder) -> None:
    assert StreamDecoder(mini).latency <= 0.75 * mini.sample_rate


def test_the_caller_may_reuse_its_buffer(tiny: EncoderDecoder) -> None:
    signal, buffer = _noise(1, 40960), np.zeros((1, 4096), np.float32)
    stream, parts = StreamEncoder(tiny), []
    for block in np.split(signal, 10, axis=1):
        buffer[:] = block
        parts.append(stream.push(buffer))
        buffer[:] = 7
    parts.append(stream.flush())
    assert torch.equal(torch.cat(parts, dim=-1), torch.cat(_encode(tiny, signal, []), dim=-1))


def test_refuses_at_the_door(tiny: EncoderDecoder) -> None:
    encoder, decoder = StreamEncoder(tiny, channels=2), StreamDecoder(tiny, channels=2)
    with pytest.raises(InputError, match=r"shape \[3, 10\]; this stream takes \[2, n\]"):
        encoder.push(np.zeros((3, 10), np.float32))
    with pytest.raises(InputError, match="NaN or infinite at sample 4"):
        encoder.push(np.array([[0] * 4 + [np.nan]] * 2, np.float32))
    with pytest.raises(InputError, match=r"this stream takes \[2, 64, 'l'\]"):
        decoder.push(torch.zeros(2, 32, 4))
    with pytest.raises(InputError, match="without samples"):
        encoder.flush()
    with pytest.raises(InputError, match="the stream has ended"):
        encoder.push(np.zeros((2, 1), np.float32))
    decoder.push(torch.zeros(2, 64, 2))
    with pytest.raises(InputError, match=r"num_samples = 99999; these latents hold up to"):
        decoder.flush(99999)


# ---- music2latent live


def _wave(audio: np.ndarray, rate: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, audio.T, rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _live(codec: EncoderDecoder, data: bytes, **options: object) -> bytes:
    target = io.BytesIO()
    settings = {"rate": None, "channels": 1, "seed": 0} | options
    live.run(io.BytesIO(data), target, codec, LIVE, **settings)  # type: ignore[arg-type]
    return target.getvalue()


def test_a_wav_stream_comes_back_as_the_codec_makes_it(tiny: EncoderDecoder) -> None:
    signal = _noise(2, 30001)
    data = _wave(signal, 48000)
    samples = np.frombuffer(data[-30001 * 4 :], "<i2").reshape(-1, 2).T
    encoder, decoder = (kind(tiny, sample_rate=48000, channels=2) for kind in (StreamEncoder, StreamDecoder))
    latents = torch.cat([encoder.push(samples), encoder.flush()], dim=-1)
    expected = np.concatenate([decoder.push(latents), decoder.flush(30001)], axis=1)
    out = _live(tiny, data)
    assert out[:4] == b"RIFF"
    found = np.frombuffer(out[44:], "<i2").reshape(-1, 2).T
    assert np.array_equal(found, (expected * 32767).round())
    raw = _live(tiny, data[44:], rate=48000, channels=2)
    assert raw == out[44:]


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"junk", "not a WAV stream"), (b"", "not a WAV stream"), (_wave(_noise(1, 0), 8000), "without samples")],
)
def test_live_refuses_what_is_no_sound(tiny: EncoderDecoder, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _live(tiny, data)


@pytest.mark.skipif(shutil.which("sox") is None and shutil.which("ffmpeg") is None, reason="neither sox nor ffmpeg")
def test_a_chain_of_pipes(tmp_path: Path) -> None:
    """Another program decodes to a pipe, ours codes, another writes the file: length and loudness stay."""
    ours = f"{sys.executable} -m music2latent live"
    target = tmp_path / "out.flac"
    if shutil.which("sox"):
        chain = f"sox {CLIP} -t wav -b 16 - trim 0 2 | {ours} | sox --ignore-length -t wav - {target}"
    else:
        chain = f"ffmpeg -v error -t 2 -i {CLIP} -f wav - | {ours} | ffmpeg -v error -i - {target}"
    subprocess.run(["bash", "-c", f"set -o pipefail; {chain}"], check=True, timeout=120)
    before, after = soundfile.read(CLIP)[0], soundfile.read(target)[0]
    rate = soundfile.info(target).samplerate
    assert abs(len(after) - 2 * rate) <= 1
    assert 0.3 < np.sqrt(np.square(after).mean() / np.square(before[: len(after)]).mean()) < 1.5
