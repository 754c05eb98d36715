"""Streams give what the one-shot codec gives with the same chunks, whatever the blocks; the past never changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from music2latent import EncoderDecoder, InputError
from music2latent.chunk_coding import Decoding, Encoding
from music2latent.chunks import ChunkPlan
from music2latent.streaming import LIVE, StreamDecoder, StreamEncoder

from .helpers import noise

PLANS = [LIVE, ChunkPlan(4, 2), ChunkPlan(8, 2), ChunkPlan(3, 0)]


def _encode(codec: EncoderDecoder, signal: np.ndarray, sizes: list[int], **options: object) -> list[torch.Tensor]:
    places = np.cumsum(sizes) if sizes else np.array([], int)
    with StreamEncoder(codec, channels=len(signal), **options) as stream:  # type: ignore[arg-type]
        parts = [stream.push(block) for block in np.split(signal, places[places < signal.shape[1]], axis=1)]
        return [*parts, stream.flush()]


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 60000), st.lists(st.integers(0, 30000), max_size=5), st.sampled_from(PLANS), st.integers(1, 2))
def test_streams_equal_the_whole(
    tiny: EncoderDecoder, n: int, sizes: list[int], plan: ChunkPlan, channels: int
) -> None:
    signal = noise(channels, n)
    encoding, decoding = Encoding(tiny.runner, plan), Decoding(tiny.runner, plan, num_steps=1, seed=3)
    whole = torch.cat([encoding.push(signal), encoding.flush()], dim=-1) / tiny.latent_scale
    latents = torch.cat(_encode(tiny, signal, sizes, plan=plan), dim=-1)
    assert torch.equal(latents, whole)
    audio = np.concatenate([decoding.push(whole * tiny.latent_scale), decoding.flush()], axis=1)
    with StreamDecoder(tiny, channels=channels, plan=plan, seed=3) as stream:
        parts = [stream.push(part) for part in latents.split(1 + len(sizes), dim=-1)]
        parts.append(stream.flush(n))
    found = np.concatenate(parts, axis=1)
    assert found.shape == (channels, n)
    assert np.array_equal(found, audio[:, :n])


def test_other_rates_come_back_at_their_length(tiny: EncoderDecoder) -> None:
    signal = noise(2, 50001)
    encoder = StreamEncoder(tiny, sample_rate=48000, channels=2)
    parts = [encoder.push(block) for block in np.array_split(signal, 7, axis=1)] + [encoder.flush()]
    decoder = StreamDecoder(tiny, sample_rate=48000, channels=2)
    out = [decoder.push(part) for part in parts] + [decoder.flush(encoder.num_samples)]
    assert np.concatenate(out, axis=1).shape == signal.shape


@pytest.mark.parametrize("plan", PLANS)
def test_later_input_never_changes_earlier_output(tiny: EncoderDecoder, plan: ChunkPlan) -> None:
    one, two = noise(1, 90000), noise(1, 90000)
    two[:, 70000:] = noise(1, 20000, seed=1)
    encoders = [StreamEncoder(tiny, plan=plan) for _ in range(2)]
    first = [encoder.push(signal[:, :70000]) for encoder, signal in zip(encoders, (one, two), strict=True)]
    assert torch.equal(*first)
    assert first[0].shape[-1] > 0
    rest = [encoder.push(signal[:, 70000:]) for encoder, signal in zip(encoders, (one, two), strict=True)]
    assert not torch.equal(*rest)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("block", [1, 512, 5000])
def test_latency_is_what_it_says_and_is_reached(tiny: EncoderDecoder, plan: ChunkPlan, block: int) -> None:
    """At every moment the samples that are out lag behind those that are in by `latency` at most, and once by that."""
    encoder, decoder = StreamEncoder(tiny, plan=plan), StreamDecoder(tiny, plan=plan)
    signal, pushed, out, worst, first = noise(1, 120000), 0, 0, 0, None
    if block == 1:  # a sample at a time around the interesting places only
        sizes = [plan.length * 4096 - 5] + [1] * 10 + [decoder.latency - plan.length * 4096 - 10] + [1] * 10
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
    signal, buffer = noise(1, 40960), np.zeros((1, 4096), np.float32)
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
    with pytest.raises(InputError, match="sample_rate = 1; accepted: whole numbers from 1000 to 768000"):
        StreamEncoder(tiny, sample_rate=1)
    with pytest.raises(InputError, match="channels = 2147483648; accepted: whole numbers from 1 to 1024"):
        StreamDecoder(tiny, channels=2**31)


@pytest.mark.parametrize("channels", [1, 33])
def test_blocks_of_any_size_and_channels(tiny: EncoderDecoder, channels: int) -> None:
    encoder, decoder = StreamEncoder(tiny, channels=channels), StreamDecoder(tiny, channels=channels)
    sizes, signal = (0, 1, 1, 31, 0, 4000), noise(channels, 4033)
    found = [decoder.push(encoder.push(block)) for block in np.split(signal, np.cumsum(sizes), axis=1)]
    found += [decoder.push(encoder.flush()), decoder.flush(encoder.num_samples)]
    assert sum(block.shape[1] for block in found) == 4033
