"""The codec as a torch module: copies, processes, training, saving, and calling it."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from music2latent import EncoderDecoder, InputError

from .helpers import gradient, posix, reference_checkpoint, reference_codec, relative_error, sound


def fresh(dtype: str = "float32") -> EncoderDecoder:
    """A codec that a test may change."""
    return EncoderDecoder(model=reference_checkpoint("tiny"), device="cpu", dtype=dtype)


class Owner(torch.nn.Module):
    """A network of somebody's, with a codec in it."""

    def __init__(self) -> None:
        super().__init__()
        self.codec = fresh()


def test_its_weights_are_those_of_a_module_around_it() -> None:
    owner = Owner()
    assert sum(weight.numel() for weight in owner.parameters()) == owner.codec.num_parameters
    assert {key.split(".")[1] for key in owner.state_dict()} == {"gen"}
    owner.half()
    assert owner.codec.dtype == torch.float16
    assert not owner.codec.training
    assert owner.train().codec.gen.training


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda codec: pickle.loads(pickle.dumps(codec))])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_copies_are_equal_and_apart(duplicate: Callable[[EncoderDecoder], EncoderDecoder], dtype: str) -> None:
    codec = fresh(dtype)
    twin = duplicate(codec)
    audio = sound(1, 20000)
    latents = twin.compress(audio, 44100)
    assert torch.equal(latents.values, codec.compress(audio, 44100).values)
    assert latents.fingerprint == codec.fingerprint
    assert twin.runner.model is twin.gen
    with torch.no_grad():
        next(twin.parameters()).add_(1)
    assert twin.fingerprint != codec.fingerprint == fresh().fingerprint


def _encode_elsewhere(codec: EncoderDecoder, audio: np.ndarray, answers: Any) -> None:
    answers.put(codec.encode(audio).numpy())


@posix
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_other_processes(method: str) -> None:
    # two threads: a forked process would wait for ever for those that stayed behind
    codec, audio, threads = fresh(), sound(1, 60000), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        here = codec.encode(audio)
        context: Any = multiprocessing.get_context(method)
        answers = context.Queue()
        process = context.Process(target=_encode_elsewhere, args=(codec, audio, answers), daemon=True)
        process.start()
        assert relative_error(answers.get(timeout=60), here) < 1e-5
        process.join(10)
    finally:
        torch.set_num_threads(threads)


def test_calling_it_is_reconstruct() -> None:
    codec = fresh()
    for samples in (1, 4096, 30000, 44100 * 12):  # the last is longer than a chunk
        audio = sound(2, samples)
        called = codec(torch.from_numpy(audio), seed=3)
        assert called.shape == (2, samples)
        assert not called.requires_grad
        assert relative_error(called, codec.reconstruct(audio, 44100, seed=3)) < 1e-3
    batch = codec(torch.from_numpy(sound(6, 9000)).view(3, 2, 9000), seed=3)
    assert relative_error(batch[1, 1], codec(torch.from_numpy(sound(6, 9000)[3]), seed=3)) < 1e-4


def test_gradients_through_a_call() -> None:
    codec = fresh()
    audio = torch.from_numpy(sound(1, 9000))
    assert not codec(audio).requires_grad
    codec(audio.requires_grad_()).square().mean().backward()
    assert gradient(audio).abs().min() >= 0
    assert gradient(audio).abs().max() > 0
    codec.zero_grad()
    codec.train()(audio.detach(), seed=0).square().mean().backward()
    assert all(gradient(weight).isfinite().all() for weight in codec.parameters() if weight.grad is not None)
    assert sum(weight.grad is not None for weight in codec.parameters()) > 100


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_weights_of_16_bits_are_not_trained(dtype: str) -> None:
    codec, audio = fresh(dtype), torch.from_numpy(sound(1, 9000))
    for call in (
        lambda: codec.encode(audio, grad=True),
        lambda: codec.decode(torch.zeros(64, 4), grad=True),
        lambda: codec.train()(audio),
    ):
        with pytest.raises(
            InputError, match=rf"weights in torch.{dtype} cannot be trained.*dtype='float32'.*requires_grad_"
        ):
            call()
    codec.requires_grad_(False)
    latents = torch.zeros(64, 4, requires_grad=True)
    codec.decode(latents, seed=0, grad=True).square().mean().backward()
    assert gradient(latents).isfinite().all()


def test_training_in_float32_moves_the_weights_and_the_fingerprint() -> None:
    codec = fresh()
    before = codec.compress(sound(1, 9000), 44100)
    optimizer = torch.optim.Adam(codec.parameters(), lr=1e-3)
    with torch.autocast("cpu", torch.bfloat16):
        codec.encode(sound(1, 9000), grad=True).square().mean().backward()
    optimizer.step()
    assert codec.fingerprint != before.fingerprint
    with pytest.raises(InputError, match="load the model that encoded them"):
        codec.decompress(before)
    codec.gen.load_state_dict(reference_checkpoint("tiny").state_dict)
    assert codec.fingerprint == before.fingerprint


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_an_untouched_codec_saves_what_it_loaded(tmp_path: Path, dtype: str) -> None:
    fresh(dtype).save_pretrained(tmp_path)
    assert EncoderDecoder.from_pretrained(tmp_path).fingerprint == reference_checkpoint("tiny").fingerprint()


def test_repr_is_a_line() -> None:
    assert repr(reference_codec("tiny")).startswith("EncoderDecoder(model='tiny', 0.")
    assert "float32" in repr(reference_codec("tiny"))


@pytest.mark.skipif(sys.platform != "linux", reason="compiles with the local compiler")
def test_a_copy_compiles_its_own_networks() -> None:
    codec = EncoderDecoder(model=reference_checkpoint("tiny"), device="cpu", dtype="float32", compile=True)
    twin = copy.deepcopy(codec)
    assert twin.gen.compiled is not twin.gen
    assert twin.gen.compiled.encoder is twin.gen.encoder
