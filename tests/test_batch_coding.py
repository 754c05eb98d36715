"""Batches of signals: what `compress` and `decompress` give, or a latent per frame; with gradients."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from music2latent import EncoderDecoder, spectrogram
from music2latent.batch_coding import BatchCoding, _coverage
from music2latent.chunks import ChunkPlan

from .helpers import gradient, reference_checkpoint, relative_error, sound

PLAN = ChunkPlan(3, 1)
EDGE, FRAME = 1536, 4096


@pytest.fixture(scope="module")
def codec() -> EncoderDecoder:
    """Small, with chunks so short that a second has several."""
    checkpoint = dataclasses.replace(reference_checkpoint("tiny"), chunk_plan=PLAN)
    return EncoderDecoder(model=checkpoint, device="cpu", dtype="float32")


def coding(codec: EncoderDecoder, lead: int = EDGE, plan: ChunkPlan | None = PLAN) -> BatchCoding:
    return BatchCoding(model=codec.gen, latent_scale=codec.latent_scale, chunk_plan=plan, lead=lead)


def stereo(samples: int) -> Tensor:
    return torch.from_numpy(sound(2, samples))


@pytest.mark.parametrize("samples", [1, EDGE + 1, FRAME - EDGE, FRAME - EDGE + 1, 15000])
def test_it_is_compress_and_decompress(codec: EncoderDecoder, samples: int) -> None:
    audio, ours = stereo(samples), coding(codec)
    expected = codec.compress(audio, 44100)
    with torch.no_grad():
        latents = ours.encode(audio)
        decoded = ours.decode(latents, samples, num_steps=2, seed=3)
    assert latents.shape == expected.values.shape == (2, 64, ours.num_latents(samples))
    assert relative_error(latents, expected.values) < 1e-4
    assert relative_error(decoded, codec.decompress(expected, num_steps=2, seed=3)) < 1e-4


def test_without_chunks_of_its_own_a_model_gets_those_of_compress(
    tiny: EncoderDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("chunks", "batch_coding"):
        monkeypatch.setattr(f"music2latent.{module}.CHUNK_SECONDS", 2.0)
    audio = stereo(3 * 44100)[:1]
    with torch.no_grad():
        latents = coding(tiny, plan=None).encode(audio)
    assert relative_error(latents, tiny.compress(audio, 44100).values) < 1e-5


@pytest.mark.parametrize("frames", [1, 4])
def test_half_the_lead_gives_a_latent_per_frame(codec: EncoderDecoder, frames: int) -> None:
    audio, ours = stereo(frames * FRAME), coding(codec, EDGE // 2, ChunkPlan(64, 4))
    assert ours.num_latents(frames * FRAME) == frames
    assert ours.num_samples(frames) == frames * FRAME
    with torch.no_grad():
        latents = ours.encode(audio)
        decoded = ours.decode(latents, frames * FRAME, num_steps=1, seed=0)
    head, tail = audio[:, : EDGE // 2].flip(-1), audio[:, -EDGE // 2 :].flip(-1)
    assert relative_error(latents, codec.encode(torch.cat([head, audio, tail], -1), 64 * FRAME)) < 1e-5
    kept = slice(EDGE // 2, EDGE // 2 + frames * FRAME)
    official = codec.decode(latents, seed=0, max_waveform_length=64 * FRAME)[:, kept]  # fades at its ends
    assert relative_error(decoded * _coverage(2048, 8 * frames)[kept], official) < 1e-5


def test_no_sample_fades_next_to_the_ends() -> None:
    audio = torch.arange(3 * FRAME + EDGE).mul(0.05).sin()[None]  # low, as the transform drops its highest bin
    segments = spectrogram.synthesise(spectrogram.analyse(spectrogram.segment(audio, 512)))
    kept = slice(EDGE // 2, -EDGE // 2)
    restored = spectrogram.overlap_add(segments) / _coverage(2048, 24)
    assert relative_error(restored[:, kept], audio[:, kept]) < 1e-4
    assert torch.allclose(_coverage(2048, 24)[EDGE:-EDGE], torch.ones(()))


@pytest.mark.parametrize("lead", [EDGE, EDGE // 2])
def test_gradients_reach_every_sample_and_latent(codec: EncoderDecoder, lead: int) -> None:
    audio, ours = stereo(4 * FRAME).requires_grad_(), coding(codec, lead)
    latents = ours.encode(audio)
    latents.retain_grad()
    ours.decode(latents, 4 * FRAME, num_steps=1, seed=0).square().sum().backward()
    for found in (gradient(audio), gradient(latents)):
        assert bool(found.isfinite().all())
        assert bool(found.abs().amax(1).ne(0).all())
    assert int(gradient(audio).eq(0).sum()) < 10
    with torch.no_grad():
        assert relative_error(ours.encode(audio), latents.detach()) < 1e-5


def test_items_do_not_depend_on_their_batch(codec: EncoderDecoder) -> None:
    audio, ours = stereo(9000), coding(codec)
    with torch.no_grad():
        latents = ours.encode(audio)
        decoded = ours.decode(latents, 9000, num_steps=1, seed=0)
        for item in range(2):
            alone = ours.encode(audio[item : item + 1])
            assert relative_error(alone[0], latents[item]) < 1e-5
            assert relative_error(ours.decode(alone, 9000, num_steps=1, seed=0)[0], decoded[item]) < 1e-4
