"""The networks over long signals: whatever the chunks, batches and threads, the same comes out."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from music2latent import EncoderDecoder, chunk_coding, chunks
from music2latent.chunks import ChunkPlan

from .helpers import CLIP, NoNorm, relative_error, sound


def _flat(codec: EncoderDecoder) -> EncoderDecoder:
    """The same model with statistics that do not depend on the chunk: what is left are the chunks themselves."""
    other = EncoderDecoder(model=codec.checkpoint, device="cpu", dtype="float32")
    for parent in [other.gen.denoiser, *other.gen.modules()]:
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.GroupNorm):
                setattr(parent, name, NoNorm())
    return other


def test_chunks_of_any_size_give_the_same(tiny: EncoderDecoder) -> None:
    """Without the chunk-wide statistics of GroupNorm, the result is that of one chunk over everything."""
    codec, audio = _flat(tiny), sound(1, 44100 * 9)
    with torch.no_grad():  # without normalisation the random weights need taming
        for parameter in codec.gen.parameters():
            parameter.mul_(0.5)
    whole = codec.compress(audio, 44100, chunk_seconds=60)
    back = codec.decompress(whole, chunk_seconds=60)
    for seconds in (4, 5):
        latents = codec.compress(audio, 44100, chunk_seconds=seconds)
        assert relative_error(latents.values, whole.values) < 1e-4
    context = chunks.decoder_context(codec.config)
    for length in (2 * context, 2 * context + 9):
        codec.checkpoint = replace(codec.checkpoint, chunk_plan=ChunkPlan(length, context))
        assert relative_error(codec.decompress(whole), back) < 1e-3


def test_decode_has_the_chunks_that_are_asked_for(tiny: EncoderDecoder) -> None:
    """By default they overlap, and make no difference but for the normalisation; a named length is cut hard."""
    codec = _flat(tiny)
    context = chunks.decoder_context(codec.config)
    codec.checkpoint = replace(codec.checkpoint, chunk_plan=ChunkPlan(2 * context + 1, context))
    latents = torch.randn(2, 64, 4 * context, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in codec.gen.parameters():
            parameter.mul_(0.5)
    whole = codec.decode(latents, seed=3, max_waveform_length=44100 * 60)
    assert relative_error(codec.decode(latents, seed=3, max_batch_size=3), whole) < 1e-3
    cut = codec.decode(latents, seed=3, max_waveform_length=(2 * context + 1) * 4096)
    assert relative_error(cut, whole) > 0.01


def test_threads_share_the_networks(tiny: EncoderDecoder) -> None:
    """Chunks of signals that are coded at the same time run as one batch, and come out as if alone."""
    codec = EncoderDecoder(model=tiny.checkpoint, device="cpu", dtype="float32")
    codec.runner = chunk_coding.Runner(codec.gen, batch_size=3, patience=60)
    sizes = []
    codec.gen.encoder.register_forward_hook(lambda module, inputs, output: sizes.append(len(output)))
    codec.gen.decoder.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    signals = [sound(1, 20000, seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        latents = list(pool.map(partial(codec.compress, sample_rate=44100), signals))
        audio = list(pool.map(codec.decompress, latents))
    assert sizes == [3, 3]
    for signal, values, back in zip(signals, latents, audio, strict=True):
        alone = tiny.compress(signal, 44100)
        assert relative_error(values.values, alone.values) < 1e-4
        assert relative_error(back, tiny.decompress(alone)) < 1e-4


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("two_threads")  # of one alone the bounds below are not known
def test_compiled_networks_give_the_same(tiny: EncoderDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full chunks run compiled, the rest does not: a compilation for every length there is would never end.

    What PyTorch captured runs as it is here; its code generator takes minutes for it.
    """
    compiled: Any = torch.compile
    calls: list[str] = []

    def capture(network: torch.nn.Module, mode: str, **options: bool) -> object:
        assert mode == "reduce-overhead"  # CUDA graphs
        function = compiled(network, backend="aot_eager", **options)

        def run(*inputs: torch.Tensor) -> object:
            calls.append(type(network).__name__)
            return function(*inputs)

        return run

    monkeypatch.setattr(torch, "compile", capture)
    codec = EncoderDecoder(model=tiny.checkpoint, device="cpu", dtype="float32", compile=True)
    audio = sound(1, 44100 * 8)
    seconds: dict[str, Any] = {"chunk_seconds": 4.0}  # two chunks of 43 latents, and a shorter one
    latents = codec.compress(audio, 44100, **seconds)
    assert calls == ["Encoder"] * 2
    back = codec.decompress(latents, **seconds)
    assert calls[2:] == ["Upsampler", "Denoiser"] * 2
    assert relative_error(latents.values, tiny.compress(audio, 44100, **seconds).values) < 1e-4
    assert relative_error(back, tiny.decompress(latents, **seconds)) < 1e-3


def test_chunks_of_the_bundled_model_meet_without_a_seam(mini: EncoderDecoder) -> None:
    """With those statistics, chunks differ by about a tenth, and the cross-fade hides it."""
    whole = mini.compress(CLIP, chunk_seconds=20)
    cut = mini.compress(CLIP, chunk_seconds=4.5)
    assert relative_error(cut.values, whole.values) < 0.06
    one, other = (mini.decompress(whole, chunk_seconds=seconds) for seconds in (20, 4.5))
    assert relative_error(other, one) < 0.1
    # Jumps from sample to sample are no larger than in the decoding without chunks.
    assert np.abs(np.diff(other)).max() < 1.2 * np.abs(np.diff(one)).max()
