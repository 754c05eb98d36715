"""The pretransform in the real stable-audio-tools: its class, its factory's model, its generation and training calls.

Two of that package's imports are stood in for, because they cannot be installed beside a PyTorch without CUDA:
torchaudio, whose wheel is linked with CUDA, and k_diffusion, which needs torchvision. Nothing here calls them.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch import Tensor

from music2latent import EncoderDecoder, InputError
from music2latent.checkpoint import Checkpoint
from music2latent.chunks import ChunkPlan

from ..helpers import gradient, reference_checkpoint, relative_error, sound
from .page import run_page

pytestmark = pytest.mark.filterwarnings("ignore")  # the package's own
FRAME = 4096


@pytest.fixture(scope="module", autouse=True)
def _absent() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("torchaudio", "torchaudio.transforms", "k_diffusion"):
            patch.setitem(sys.modules, name, MagicMock())
        yield


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return dataclasses.replace(reference_checkpoint("tiny"), chunk_plan=ChunkPlan(3, 1))


def pretransform(checkpoint: Checkpoint, **options: Any) -> Any:
    from music2latent.integrations.stable_audio_tools import Music2LatentPretransform

    return Music2LatentPretransform(checkpoint, **options)


def stereo(frames: int) -> Tensor:
    return torch.from_numpy(sound(4, frames * FRAME)).view(2, 2, -1)


def diffusion(channels: int) -> Any:
    """A small diffusion model as the package's factory makes it."""
    from stable_audio_tools import create_model_from_config

    transformer = {"io_channels": channels, "embed_dim": 64, "depth": 1, "num_heads": 1}
    model = {
        "io_channels": channels,
        "diffusion": {"type": "dit", "diffusion_objective": "rectified_flow", "config": transformer},
    }
    return create_model_from_config({"model_type": "diffusion_cond", "sample_rate": 44100, "model": model})


def test_it_is_a_pretransform_with_their_facts(checkpoint: Checkpoint) -> None:
    from stable_audio_tools.models.pretransforms import Pretransform

    ours = pretransform(checkpoint)
    assert isinstance(ours, Pretransform)
    assert (ours.io_channels, ours.encoded_channels, ours.downsampling_ratio) == (2, 128, FRAME)
    assert (ours.sample_rate, ours.is_discrete, ours.enable_grad) == (44100, False, False)
    assert not any(parameter.requires_grad for parameter in ours.parameters())
    with pytest.raises(NotImplementedError):
        ours.tokenize(stereo(1))


@pytest.mark.parametrize("frames", [1, 4])
def test_a_latent_per_frame_and_every_sample_back(checkpoint: Checkpoint, frames: int) -> None:
    ours, audio = pretransform(checkpoint), stereo(frames)
    with torch.no_grad():
        latents = ours.encode(audio)
        decoded = ours.decode(latents)
    assert latents.shape == (2, 128, frames)
    assert decoded.shape == audio.shape
    codec = EncoderDecoder(model=checkpoint, device="cpu", dtype="float32")
    head, tail = audio[..., :768].flip(-1), audio[..., -768:].flip(-1)
    expected = codec.encode(torch.cat([head, audio, tail], -1), 64 * FRAME)  # [B, C, D, L]
    if frames == 1:  # a single chunk
        assert relative_error(latents, expected.flatten(1, 2)) < 1e-4
    for channel in range(2):  # the first channel's latents, then the second's
        alone = pretransform(checkpoint, channels=1).encode(audio[:, channel : channel + 1])
        assert relative_error(latents[:, 64 * channel : 64 * channel + 64], alone) < 1e-4


def test_a_model_of_their_factory_generates_with_it(checkpoint: Checkpoint) -> None:
    from stable_audio_tools.inference.generation import generate_diffusion_cond

    model = diffusion(128)
    model.pretransform = pretransform(checkpoint)
    options: dict[str, Any] = {"steps": 1, "cfg_scale": 1, "conditioning_tensors": {}, "sample_size": 3 * FRAME}
    with torch.no_grad():
        audio = generate_diffusion_cond(model, batch_size=2, seed=1, device="cpu", **options)
        latents = generate_diffusion_cond(model, batch_size=2, seed=1, device="cpu", return_latents=True, **options)
        varied = generate_diffusion_cond(
            model, batch_size=2, seed=1, device="cpu", init_audio=(44100, stereo(3)[0]), init_noise_level=0.5, **options
        )
        assert torch.equal(model.pretransform.decode(latents), audio)
    assert audio.shape == varied.shape == (2, 2, 3 * FRAME)
    assert relative_error(varied, audio) > 0.1
    stored = {name.removeprefix("pretransform.model.") for name in model.state_dict()}
    assert set(checkpoint.state_dict) <= stored


def test_its_weights_train_when_asked_to(checkpoint: Checkpoint) -> None:
    ours, audio = pretransform(checkpoint, enable_grad=True), stereo(1).requires_grad_()
    ours.train(ours.enable_grad)
    ours.decode(ours.encode(audio)).square().sum().backward()
    assert gradient(audio).abs().min() > 0
    assert gradient(ours.model.encoder.gain.scale).any()


def test_seed_and_steps(checkpoint: Checkpoint) -> None:
    latents = torch.randn(1, 128, 2)
    plain, other, steps = (pretransform(checkpoint, **more) for more in ({}, {"seed": 1}, {"num_steps": 2}))
    with torch.no_grad():
        assert torch.equal(plain.decode(latents), plain.decode(latents))
        for one in (other, steps):
            assert relative_error(one.decode(latents), plain.decode(latents)) > 0.1


@pytest.mark.parametrize("shape", [(2, FRAME), (1, 1, FRAME), (1, 2, FRAME - 1), (1, 2, FRAME + 1)])
def test_other_audio_is_refused(checkpoint: Checkpoint, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=re.escape(f"{list(shape)}; expected [B, 2, n], n a multiple of 4096")):
        pretransform(checkpoint).encode(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(128, 3), (1, 64, 3), (1, 2, 128, 3)])
def test_other_latents_are_refused(checkpoint: Checkpoint, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=re.escape(f"latents of shape {list(shape)}; expected ")):
        pretransform(checkpoint).decode(torch.zeros(shape))


def test_the_page_runs() -> None:
    model = diffusion(128)
    run_page("stable-audio-tools", model=model)
    assert model.pretransform.encoded_channels == 128
