"""encode and decode, the official contract: calls in the wild, laws, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from music2latent import EncoderDecoder, InputError, Latents
from music2latent.audio import write_audio

from .helpers import gradient, reference_checkpoint, reference_codec, relative_error, sound


def test_facts(mini: EncoderDecoder) -> None:
    assert (mini.sample_rate, mini.latent_dim, mini.frame_size) == (44100, 64, 4096)
    assert mini.frame_rate == pytest.approx(10.77, abs=0.005)
    assert mini.num_parameters == 9496515
    assert mini.model_id == "mini-v8"
    assert mini.latent_scale == pytest.approx(0.3073, abs=1e-4)
    assert reference_codec("official").latent_scale == 0.06
    assert mini.device == torch.device("cpu")


def test_constructors(tmp_path: Path) -> None:
    weights = dict(reference_checkpoint("tiny").state_dict)
    torch.save({"gen_state_dict": weights}, tmp_path / "x.pt")
    codec = EncoderDecoder(load_path_inference=str(tmp_path / "x.pt"), device=torch.device("cpu"))
    assert codec.model_id == "x"
    assert EncoderDecoder(tmp_path / "x.pt", "cpu").fingerprint == codec.fingerprint
    assert EncoderDecoder(device="cpu", dtype="bfloat16").dtype == torch.bfloat16
    assert EncoderDecoder(device="cpu", dtype=torch.float32).dtype == torch.float32
    assert EncoderDecoder().dtype in (torch.float32, torch.bfloat16)


def test_module_like(tiny: EncoderDecoder) -> None:
    assert isinstance(tiny.gen, torch.nn.Module)
    assert sum(p.numel() for p in tiny.gen.parameters()) == tiny.num_parameters
    assert isinstance(tiny.gen.encoder, torch.nn.Module)
    assert isinstance(tiny.gen.decoder, torch.nn.Module)
    assert tiny.eval() is tiny
    assert tiny.to("cpu") is tiny
    assert tiny.to(torch.device("cpu")) is tiny
    assert not tiny.gen.training


@pytest.mark.parametrize("batch", [1, 2])
def test_tensor_of_items(tiny: EncoderDecoder, batch: int) -> None:
    latents = tiny.encode(torch.from_numpy(sound(batch, 131072)))
    assert latents.shape == (batch, 64, 31)
    assert latents.dtype == torch.float32
    assert latents.device == tiny.device
    assert not latents.requires_grad


def test_calls(tiny: EncoderDecoder) -> None:
    audio = sound(2, 40000)
    assert tiny.encode(audio, max_batch_size=64).cpu().numpy().shape == (2, 64, 9)
    assert tiny.encode(audio[0]).shape == (1, 64, 9)
    assert tiny.encode(audio[0]).squeeze().T.shape == (9, 64)
    assert tiny.encode(audio, extract_features=True).permute(0, 2, 1).shape == (2, 9, 1024)
    latents = tiny.encode(audio)
    decoded = tiny.decode(latents, max_waveform_length=44100 * 6, max_batch_size=2)
    assert decoded.shape == (2, 512 * (8 * 9 + 3))
    assert decoded.device == torch.device("cpu")
    assert decoded.abs().max() <= 1
    assert tiny.decode(latents[0]).shape == (1, decoded.shape[1])
    assert tiny.decode(latents.numpy())[:, None].shape == (2, 1, decoded.shape[1])
    assert tiny.decode(latents[:, :, :2], denoising_steps=15).shape == (2, 512 * 19)


def test_official_features() -> None:
    features = reference_codec("official").encode(sound(1, 6000), extract_features=True)
    assert features.shape == (1, 8192, 1)


def test_path(tmp_path: Path, tiny: EncoderDecoder) -> None:
    audio = sound(2, 40000)
    write_audio(tmp_path / "a.flac", [audio], 44100, *audio.shape)
    stored = np.round(audio * 32768) / 32768
    for path in (tmp_path / "a.flac", str(tmp_path / "a.flac")):
        got = tiny.encode(path, max_waveform_length=44100)
        assert relative_error(got, tiny.encode(stored, max_waveform_length=44100)) < 1e-3
    write_audio(tmp_path / "b.wav", [audio], 22050, *audio.shape)  # its own rate is not ignored
    assert tiny.encode(tmp_path / "b.wav").shape == (2, 64, (80000 - 1536) // 4096)


def test_batch_and_channel_axes_are_kept(tiny: EncoderDecoder) -> None:
    audio = sound(6, 20000).reshape(3, 2, 20000)
    latents = tiny.encode(audio)
    assert latents.shape == (3, 2, 64, 4)
    flat = tiny.encode(audio.reshape(6, 20000))
    assert torch.equal(latents.flatten(0, 1), flat)
    decoded = tiny.decode(latents, seed=0)
    assert torch.equal(decoded.flatten(0, 1), tiny.decode(flat, seed=0))
    assert decoded.shape[:2] == (3, 2)
    assert tiny.encode(audio, extract_features=True).shape == (3, 2, 1024, 4)


def test_crop_law(tiny: EncoderDecoder) -> None:
    for samples, length in {5632: 1, 9727: 1, 9728: 2, 40000: 9}.items():
        assert tiny.encode(sound(1, samples)).shape[-1] == length
    assert torch.equal(tiny.encode(sound(1, 9727)), tiny.encode(sound(1, 9727)[:, :5632]))


def test_requested_length(tiny: EncoderDecoder) -> None:
    latents = tiny.encode(sound(1, 9000))
    whole = tiny.decode(latents, seed=0)
    assert torch.equal(tiny.decode(latents, seed=0, num_samples=5000), whole[:, :5000])
    padded = tiny.decode(latents, seed=0, num_samples=9000)
    assert padded.shape == (1, 9000)
    assert torch.equal(padded[:, :5632], whole)
    assert not padded[:, 5632:].any()


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_an_item_does_not_depend_on_the_batch(tiny: EncoderDecoder, size: int) -> None:
    audio, chunk = sound(3, 60000), 4096 * 5
    latents = tiny.encode(audio, max_batch_size=size, max_waveform_length=chunk)
    decoded = tiny.decode(latents, max_batch_size=size, max_waveform_length=chunk, seed=5)
    for item in range(3):
        alone = tiny.encode(audio[item], max_waveform_length=chunk)
        assert relative_error(latents[item], alone[0]) < 1e-5
        assert relative_error(decoded[item], tiny.decode(alone, max_waveform_length=chunk, seed=5)[0]) < 1e-4


def test_seed(tiny: EncoderDecoder) -> None:
    latents = tiny.encode(sound(1, 20000))
    first = tiny.decode(latents, seed=1)
    assert torch.equal(tiny.decode(latents, seed=1), first)
    assert not torch.allclose(tiny.decode(latents, seed=2), first, atol=1e-3)
    assert not torch.allclose(
        tiny.decode(latents), tiny.decode(latents), atol=1e-3
    )  # fresh noise, as in the official package
    several = tiny.decode(latents, seed=1, denoising_steps=3)
    assert torch.equal(tiny.decode(latents, seed=1, denoising_steps=3), several)
    assert not torch.allclose(several, first, atol=1e-3)


def test_gradients_flow_when_asked(tiny: EncoderDecoder) -> None:
    audio = torch.from_numpy(sound(1, 30000)).requires_grad_()
    chunk: dict[str, Any] = {"max_waveform_length": 4096 * 4}
    latents = tiny.encode(audio, grad=True, **chunk)
    decoded = tiny.decode(latents, seed=0, grad=True, **chunk)
    decoded.square().sum().backward()
    assert torch.isfinite(gradient(audio)).all()
    assert gradient(audio)[:, : 4096 * 6].abs().amax() > 0
    assert gradient(tiny.gen.encoder.conv_inp.weight).abs().max() > 0
    tiny.gen.zero_grad(set_to_none=True)
    assert not tiny.encode(audio, **chunk).requires_grad
    assert not tiny.decode(latents, seed=0, **chunk).requires_grad


def test_gradient_is_the_derivative(tiny: EncoderDecoder) -> None:
    """Against finite differences, in the direction of the gradient itself, through encode and decode."""
    start = torch.from_numpy(sound(1, 5632))

    def value(audio: torch.Tensor) -> torch.Tensor:
        return tiny.decode(tiny.encode(audio, grad=True), seed=0, grad=True).square().sum()

    audio = start.clone().requires_grad_()
    value(audio).backward()
    slope_there = gradient(audio).norm()
    direction = gradient(audio) / slope_there
    step = 3e-4  # the function is far from linear, float32 far from exact
    with torch.no_grad():
        slope = (value(start + step * direction) - value(start - step * direction)) / (2 * step)
    assert slope.item() == pytest.approx(slope_there.item(), rel=0.01)
    tiny.gen.zero_grad(set_to_none=True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_are_close(mini: EncoderDecoder, dtype: str) -> None:
    other = EncoderDecoder(device="cpu", dtype=dtype)
    audio = sound(1, 40000)
    latents = mini.encode(audio)
    assert relative_error(other.encode(audio), latents) < 0.05
    assert relative_error(other.decode(latents, seed=0), mini.decode(latents, seed=0)) < 0.1


LATENTS = Latents(
    values=torch.zeros(1, 64, 2), sample_rate=44100, num_samples=9, coding_rate=44100, model_id="m", fingerprint="f"
)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(5631), "5631 samples are too few for encode, which needs 5632 .* use compress"),
        (np.zeros((2, 2, 2, 6000)), r"shape \[2, 2, 2, 6000\]; expected \[n\], \[C, n\] or \[B, C, n\]"),
        (np.zeros((6000, 2)), r"looks like \[n, C\]"),
        (np.full(6000, np.nan), "NaN"),
        ("missing.wav", "no such file"),
    ],
)
def test_refused_audio(tiny: EncoderDecoder, audio: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny.encode(audio)


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.zeros(32, 5), r"shape \[32, 5\]; expected \[64, L\], \[C, 64, L\] or \[B, C, 64, L\]$"),
        (torch.zeros(5, 64), "pass the transpose"),
        (torch.zeros(64), "expected"),
        (torch.zeros(1, 64, 0), "expected"),
        (torch.full((64, 2), torch.inf), "NaN or infinite"),
        (torch.zeros(64, 2, dtype=torch.complex64), "expected"),
        ("a.m2l", "type str, not an array of numbers"),
        (LATENTS, "for a Latents record there is decompress"),
    ],
)
def test_refused_latents(tiny: EncoderDecoder, latents: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny.decode(latents)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"denoising_steps": 0}, "denoising_steps = 0; accepted: whole numbers from 1"),
        ({"max_batch_size": 0}, "max_batch_size = 0"),
        ({"max_waveform_length": 4095}, "max_waveform_length = 4095; accepted: whole numbers from 4096"),
        ({"num_samples": 0}, "num_samples = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 1, "noise": np.zeros}, "a seed or a noise function, not both"),
        ({"seed": 1.5}, "seed = 1.5; accepted"),
        ({"denoising_steps": "two"}, "denoising_steps = 'two'; accepted"),
        ({"noise": lambda shape: np.zeros(3)}, r"noise of shape \[3\]; asked for \[1, 2, 1024, 16\]"),
    ],
)
def test_refused_arguments(tiny: EncoderDecoder, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny.decode(torch.zeros(64, 2), **arguments)
