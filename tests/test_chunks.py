from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from music2latent import EncoderDecoder, InputError, ModelConfig, chunks
from music2latent.autoencoder import Autoencoder
from music2latent.chunks import ChunkPlan, Cutter, Joiner, Padding
from music2latent.config import PRESETS

from .helpers import NoNorm, gradient, least_checkpoint, noise, reference_checkpoint

# frame_size 8, edge 6: quick, and the same arithmetic
SMALL = ModelConfig(
    hop_length=2,
    multipliers_list=(1, 1, 1),
    layers_list=(1, 1, 1),
    attention_list=(0, 0, 0),
    layers_list_encoder=(1, 1, 1),
    attention_list_encoder=(0, 0, 0),
    freq_downsample_list=(0, 0),
)

plans = st.integers(0, 9).flatmap(
    lambda overlap: st.builds(ChunkPlan, st.integers(max(1, 2 * overlap), 40), st.just(overlap))
)


@settings(deadline=None)
@given(plans, st.integers(1, 200), st.sampled_from([1, 8]))
def test_weights_add_up_to_one_everywhere(plan: ChunkPlan, length: int, per_latent: int) -> None:
    total = torch.zeros(length * per_latent)
    for start, stop in plan.spans(length):
        weights = plan.weights(stop - start, first=start == 0, last=stop == length, per_latent=per_latent)
        assert (weights >= 0).all()
        total[start * per_latent : stop * per_latent] += weights
    torch.testing.assert_close(total, torch.ones_like(total))


@given(plans, st.integers(1, 200))
def test_chunks_are_full_but_the_last(plan: ChunkPlan, length: int) -> None:
    spans = list(plan.spans(length))
    assert all(stop - start == plan.length for start, stop in spans[:-1])
    assert all(b[0] - a[0] == plan.step for a, b in itertools.pairwise(spans))
    assert spans[-1][1] == length
    assert len(spans) == 1 or spans[-1][1] - spans[-1][0] > plan.overlap


@pytest.mark.parametrize("plan", [ChunkPlan(1, 0), ChunkPlan(2, 1), ChunkPlan(3, 0), ChunkPlan(4096, 2048)])
def test_every_plan_that_a_model_may_bring_can_be_used(plan: ChunkPlan) -> None:
    checkpoint = dataclasses.replace(least_checkpoint(), chunk_plan=plan)
    codec = EncoderDecoder(model=checkpoint, device="cpu", dtype="float32")
    audio = noise(1, 100)
    assert codec.reconstruct(audio, 44100).shape == audio.shape
    assert codec.decode(codec.encode(audio)).shape[-1] > 0


def test_margins_do_not_count() -> None:
    weights = ChunkPlan(32, 8).weights(32, first=False, last=False)
    assert (weights[:3] == 0).all()
    assert (weights[5:27] == 1).all()
    assert (weights[-3:] == 0).all()


def test_plan_needs_room_for_two_overlaps() -> None:
    with pytest.raises(InputError, match="at least two overlaps, 16 latents"):
        ChunkPlan(15, 8)
    with pytest.raises(InputError, match="at least two overlaps, 1 latents"):
        ChunkPlan(0, 0)


@pytest.mark.parametrize("bad", [(-4, 0), (4, -1), (float("nan"), 0), (8.5, 2), ("8", 2), ([8], 2), (2**60, 0)])
def test_plans_that_cannot_be_used(bad: tuple[Any, Any]) -> None:
    with pytest.raises(InputError, match=r"^chunks: (length|overlap) = .*; accepted: whole numbers from"):
        ChunkPlan(*bad)


def _blocks(signal: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    places = np.cumsum(sizes)
    return np.split(signal, places[places < signal.shape[-1]], axis=-1)


def _padded(signal: np.ndarray, sizes: list[int]) -> list[torch.Tensor]:
    padding = Padding(SMALL)
    return [*(padding.push(torch.from_numpy(block)) for block in _blocks(signal, sizes)), padding.flush()]


@settings(deadline=None)
@given(plans, st.integers(1, 900), st.lists(st.integers(0, 300), max_size=6))
def test_cut_and_join_is_the_identity_for_any_length_and_blocks(plan: ChunkPlan, n: int, sizes: list[int]) -> None:
    signal = np.random.default_rng(n).standard_normal((2, n)).astype(np.float32)
    joiner, parts, spans = Joiner(), [], []
    cutter = Cutter(plan.length * SMALL.frame_size + SMALL.edge, plan.step * SMALL.frame_size)
    pieces = [(*piece, False) for block in _padded(signal, sizes) for piece in cutter.push(block)]
    for number, chunk, last in [*pieces, (*cutter.flush(), True)]:
        start = number * plan.step
        count = (chunk.shape[-1] - SMALL.edge) // SMALL.frame_size
        spans.append((start, start + count))
        body = chunk[:, : count * SMALL.frame_size]
        weights = plan.weights(count, first=start == 0, last=last, per_latent=SMALL.frame_size)
        until = start + (count if last else plan.step)
        parts.append(joiner.push(body * weights, start * SMALL.frame_size, until * SMALL.frame_size))
    assert spans == list(plan.spans(chunks.latents_needed(n, SMALL)))
    joined = torch.cat(parts, dim=-1)[:, SMALL.edge :][:, :n]
    torch.testing.assert_close(joined, torch.from_numpy(signal))


@given(st.integers(1, 200), st.lists(st.integers(0, 100), max_size=6))
def test_padding_mirrors_and_covers_every_sample_four_times(n: int, sizes: list[int]) -> None:
    signal = np.arange(1, n + 1, dtype=np.float32)[None]
    padded = torch.cat(_padded(signal, sizes), dim=-1).numpy()
    length = chunks.latents_needed(n, SMALL)
    before, after = SMALL.edge, length * SMALL.frame_size - n
    assert after >= SMALL.edge
    assert (padded == np.pad(signal, ((0, 0), (before, after)), "symmetric")).all()


def test_no_samples_is_an_error() -> None:
    with pytest.raises(InputError, match="without samples"):
        _padded(np.zeros((1, 0), np.float32), [])


@pytest.mark.parametrize("name", ["tiny", "mini", "official", "mixed"])
def test_context_is_how_far_the_network_sees(name: str) -> None:
    """Without GroupNorm, which looks at the whole chunk, a change reaches exactly as far as the context says."""
    full = PRESETS.get(name) or reference_checkpoint(name).config
    levels = len(full.multipliers_list)
    config = dataclasses.replace(  # the same layers, but narrow
        full, hop_length=32, base_channels=8, multipliers_list=(1,) * levels, bottleneck_base_channels=16, heads=1
    )
    torch.manual_seed(0)
    model = Autoencoder(config).double()
    model.denoiser.norm_out = NoNorm()  # type: ignore[assignment]  # the same layers, registered twice
    for module in list(model.modules()):
        for child_name, child in module.named_children():
            if isinstance(child, torch.nn.GroupNorm):
                setattr(module, child_name, NoNorm())
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    length, place, per_latent = 96, 48, config.columns_per_latent

    # Gradients rather than differences: what comes through the last taps is far below a difference's rounding.
    x = torch.randn(1, 2, config.bins, per_latent * length, dtype=torch.float64, requires_grad=True)
    model.encoder(x)[..., place].sum().backward()
    assert _reach(gradient(x), per_latent, place) == chunks.encoder_context(config)

    z = torch.randn(1, 64, length, dtype=torch.float64, requires_grad=True)
    decoded = model.decode(z, lambda step: x.detach())
    decoded[..., per_latent * place : per_latent * (place + 1)].sum().backward()
    assert _reach(gradient(z), 1, place) == chunks.decoder_context(config)


def _reach(found: torch.Tensor, per_latent: int, place: int) -> int:
    """Latents from `place` to the farthest gradient that is not zero."""
    touched = found.flatten(0, -2).any(0).nonzero().flatten().div(per_latent, rounding_mode="floor")
    return int((touched - place).abs().max())
