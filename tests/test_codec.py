from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from music2latent import EncoderDecoder, InputError, Latents, windowed, windows
from music2latent.audio import open_audio, read_whole, write_audio

from .helpers import CLIP, NoNorm, reference_checkpoint, reference_codec, relative_error, sound

# --------------------------------------------------------------------------- calls in the wild


def test_facts(mini: EncoderDecoder) -> None:
    assert (mini.sample_rate, mini.latent_dim, mini.frame_size) == (44100, 64, 4096)
    assert mini.frame_rate == pytest.approx(10.77, abs=0.005)
    assert mini.num_parameters == 8838242
    assert mini.model_id == "mini-v2"
    assert mini.latent_scale == pytest.approx(0.3772, abs=1e-4)
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


# --------------------------------------------------------------------------- laws of encode and decode


@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_an_item_does_not_depend_on_the_batch(tiny: EncoderDecoder, size: int) -> None:
    audio, window = sound(3, 60000), 4096 * 5
    latents = tiny.encode(audio, max_batch_size=size, max_waveform_length=window)
    decoded = tiny.decode(latents, max_batch_size=size, max_waveform_length=window, seed=5)
    for item in range(3):
        alone = tiny.encode(audio[item], max_waveform_length=window)
        assert relative_error(latents[item], alone[0]) < 1e-5
        assert relative_error(decoded[item], tiny.decode(alone, max_waveform_length=window, seed=5)[0]) < 1e-4


def test_seed(tiny: EncoderDecoder) -> None:
    latents = tiny.encode(sound(1, 20000))
    first = tiny.decode(latents, seed=1)
    assert torch.equal(tiny.decode(latents, seed=1), first)
    assert not torch.allclose(tiny.decode(latents, seed=2), first, atol=1e-3)
    assert not torch.allclose(tiny.decode(latents), tiny.decode(latents), atol=1e-3)  # as published: fresh noise
    several = tiny.decode(latents, seed=1, denoising_steps=3)
    assert torch.equal(tiny.decode(latents, seed=1, denoising_steps=3), several)
    assert not torch.allclose(several, first, atol=1e-3)


def test_gradients_flow_when_asked(tiny: EncoderDecoder) -> None:
    audio = torch.from_numpy(sound(1, 30000)).requires_grad_()
    window = {"max_waveform_length": 4096 * 4}
    latents = tiny.encode(audio, grad=True, **window)
    decoded = tiny.decode(latents, seed=0, grad=True, **window)
    decoded.square().sum().backward()
    assert torch.isfinite(audio.grad).all()
    assert audio.grad[:, : 4096 * 6].abs().amax() > 0
    weight = tiny.gen.encoder.conv_inp.weight
    assert weight.grad.abs().max() > 0
    tiny.gen.zero_grad(set_to_none=True)
    assert not tiny.encode(audio, **window).requires_grad
    assert not tiny.decode(latents, seed=0, **window).requires_grad


def test_gradient_is_the_derivative(tiny: EncoderDecoder) -> None:
    """Against finite differences, in the direction of the gradient itself, through encode and decode."""
    start = torch.from_numpy(sound(1, 5632))

    def value(audio: torch.Tensor) -> torch.Tensor:
        return tiny.decode(tiny.encode(audio, grad=True), seed=0, grad=True).square().sum()

    audio = start.clone().requires_grad_()
    value(audio).backward()
    direction = audio.grad / audio.grad.norm()
    step = 3e-4  # the function is far from linear, float32 far from exact
    with torch.no_grad():
        slope = (value(start + step * direction) - value(start - step * direction)) / (2 * step)
    assert slope.item() == pytest.approx(audio.grad.norm().item(), rel=0.01)
    tiny.gen.zero_grad(set_to_none=True)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits_are_close(mini: EncoderDecoder, dtype: str) -> None:
    other = EncoderDecoder(device="cpu", dtype=dtype)
    audio = sound(1, 40000)
    latents = mini.encode(audio)
    assert relative_error(other.encode(audio), latents) < 0.05
    assert relative_error(other.decode(latents, seed=0), mini.decode(latents, seed=0)) < 0.1


# --------------------------------------------------------------------------- refused by encode and decode


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
        (Latents(torch.zeros(1, 64, 2), 44100, 9, 44100, "m", "f"), "for a Latents record there is decompress"),
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
def test_refused_arguments(tiny: EncoderDecoder, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny.decode(torch.zeros(64, 2), **arguments)


def test_refused_devices_and_dtypes() -> None:
    with pytest.raises(InputError, match="device 'gpu' is not usable here"):
        EncoderDecoder(device="gpu")
    with pytest.raises(InputError, match="dtype 'int8'; accepted: auto, float32, bfloat16, float16"):
        EncoderDecoder(dtype="int8")
    with pytest.raises(InputError, match=r"dtype 'torch.int8'"):
        EncoderDecoder(dtype=torch.int8)


# --------------------------------------------------------------------------- compress and decompress


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 192000])
@pytest.mark.parametrize(("samples", "channels"), [(1, 1), (2, 3), (4097, 2)])
def test_everything_comes_back(tiny: EncoderDecoder, rate: int, samples: int, channels: int) -> None:
    audio = sound(channels, samples)
    latents = tiny.compress(audio, rate)
    assert (latents.sample_rate, latents.num_samples, latents.channels) == (rate, samples, channels)
    back = tiny.decompress(latents)
    assert back.shape == audio.shape
    assert back.dtype == np.float32
    assert np.abs(back).max() <= 1


@pytest.mark.parametrize(
    ("name", "rate", "channels", "samples"),
    [("a.mp3", 48000, 2, 96000), ("a.flac", 22050, 1, 22050), ("a.wav", 44100, 1, 441)],
)
def test_files_come_back(
    tmp_path: Path, tiny: EncoderDecoder, name: str, rate: int, channels: int, samples: int
) -> None:
    write_audio(tmp_path / name, [sound(channels, samples)], rate, channels, samples)
    for path in (tmp_path / name, str(tmp_path / name)):
        latents = tiny.compress(path)
        assert (latents.sample_rate, latents.num_samples, latents.channels) == (rate, samples, channels)
        assert tiny.decompress(latents).shape == (channels, samples)


def test_file_and_array_are_the_same(tiny: EncoderDecoder) -> None:
    import soundfile

    samples, rate = soundfile.read(CLIP, dtype="float32")
    array = tiny.compress(samples.T, rate)
    assert torch.equal(array.values, tiny.compress(CLIP).values)
    for audio in (torch.from_numpy(samples.T), (samples.T * 32768).round().astype(np.int16)):
        assert (
            relative_error(tiny.compress(audio, rate).values, array.values) < 0.03
        )  # 16 bits move random weights that much


def _flat(codec: EncoderDecoder) -> EncoderDecoder:
    """The same model with statistics that do not depend on the window: what is left are the windows themselves."""
    other = EncoderDecoder(model=codec.checkpoint, device="cpu", dtype="float32")
    for parent in [other.gen.denoiser, *other.gen.modules()]:
        for name, child in parent.named_children():
            if isinstance(child, torch.nn.GroupNorm):
                setattr(parent, name, NoNorm())
    return other


def test_windows_of_any_size_give_the_same(tiny: EncoderDecoder) -> None:
    """Without the window-wide statistics of GroupNorm, the result is that of one window over everything."""
    codec, audio = _flat(tiny), sound(1, 44100 * 9)
    with torch.no_grad():  # without normalisation the random weights need taming
        for parameter in codec.gen.parameters():
            parameter.mul_(0.5)
    whole = codec.compress(audio, 44100, window_seconds=60)
    back = codec.decompress(whole, window_seconds=60)
    for seconds in (4, 5):
        latents = codec.compress(audio, 44100, window_seconds=seconds)
        assert relative_error(latents.values, whole.values) < 1e-4
    context = windows.decoder_context(codec.config)
    for window in (2 * context, 2 * context + 9):
        codec.checkpoint = replace(codec.checkpoint, window=(window, context))
        assert relative_error(codec.decompress(whole), back) < 1e-3


def test_decode_has_the_windows_that_are_asked_for(tiny: EncoderDecoder) -> None:
    """By default they overlap, and make no difference but for the normalisation; a named length is cut hard."""
    codec = _flat(tiny)
    context = windows.decoder_context(codec.config)
    codec.checkpoint = replace(codec.checkpoint, window=(2 * context + 1, context))
    latents = torch.randn(2, 64, 4 * context, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in codec.gen.parameters():
            parameter.mul_(0.5)
    whole = codec.decode(latents, seed=3, max_waveform_length=44100 * 60)
    assert relative_error(codec.decode(latents, seed=3, max_batch_size=3), whole) < 1e-3
    cut = codec.decode(latents, seed=3, max_waveform_length=(2 * context + 1) * 4096)
    assert relative_error(cut, whole) > 0.01


def test_threads_share_the_networks(tiny: EncoderDecoder) -> None:
    """Windows of signals that are coded at the same time run as one batch, and come out as if alone."""
    codec = EncoderDecoder(model=tiny.checkpoint, device="cpu", dtype="float32")
    codec.runner = windowed.Runner(codec.gen, batch_size=3, patience=60)
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


def test_compiled_networks_give_the_same(tiny: EncoderDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full windows run compiled, the rest does not: a compilation for every length there is would never end.

    What PyTorch captured runs as it is here; its code generator takes minutes for it.
    """
    compiled, calls = torch.compile, []

    def capture(network: torch.nn.Module, mode: str, **options: bool) -> object:
        assert mode == "reduce-overhead"  # CUDA graphs
        function = compiled(network, backend="aot_eager", **options)
        return lambda *inputs: calls.append(type(network).__name__) or function(*inputs)

    monkeypatch.setattr(torch, "compile", capture)
    codec = EncoderDecoder(model=tiny.checkpoint, device="cpu", dtype="float32", compile=True)
    audio, seconds = sound(1, 44100 * 8), {"window_seconds": 4.0}  # two windows of 43 latents, and a shorter one
    latents = codec.compress(audio, 44100, **seconds)
    assert calls == ["Encoder"] * 2
    back = codec.decompress(latents, **seconds)
    assert calls[2:] == ["Upsampler", "Denoiser"] * 2
    assert relative_error(latents.values, tiny.compress(audio, 44100, **seconds).values) < 1e-4
    assert relative_error(back, tiny.decompress(latents, **seconds)) < 1e-3


def test_windows_of_the_bundled_model_meet_without_a_seam(mini: EncoderDecoder) -> None:
    """With those statistics, windows differ by about a tenth, and the cross-fade hides it."""
    whole = mini.compress(CLIP, window_seconds=20)
    cut = mini.compress(CLIP, window_seconds=4.5)
    assert relative_error(cut.values, whole.values) < 0.1
    one, other = (mini.decompress(whole, window_seconds=seconds) for seconds in (20, 4.5))
    assert relative_error(other, one) < 0.13
    # Jumps from sample to sample are no larger than in the decoding without windows.
    assert np.abs(np.diff(other)).max() < 1.2 * np.abs(np.diff(one)).max()


def test_noise_belongs_to_the_place(tiny: EncoderDecoder) -> None:
    latents = tiny.compress(sound(2, 60000), 44100)
    back = tiny.decompress(latents, seed=3)
    assert np.array_equal(tiny.decompress(latents, seed=3), back)
    assert relative_error(tiny.decompress(latents, seed=4), back) > 0.1
    assert relative_error(tiny.decompress(latents, seed=3, num_steps=2), back) > 0.1
    same = replace(latents, values=latents.values[:1].expand(2, -1, -1))
    left, right = tiny.decompress(same)
    assert np.array_equal(left, right)  # equal channels stay equal: mono in stereo stays in the middle


def test_nothing_fades_at_the_ends(mini: EncoderDecoder) -> None:
    """Music that is cut into, and pink noise, start and end as loud as they go on."""

    def level(parts: list[np.ndarray]) -> float:
        return float(np.sqrt(np.square(parts).mean()))

    def faded(sounds: list[np.ndarray]) -> list[float]:
        back = [mini.reconstruct(sound, 44100) for sound in sounds]
        places = slice(11025, 33075), slice(0, 1024), slice(-1024, None)
        middle, *ends = (level([x[:, place] for x in back]) / level([x[:, place] for x in sounds]) for place in places)
        return [end / middle for end in ends]

    clip = read_whole(open_audio(CLIP), 44100)[:1]
    start, end = faded([clip[:, start : start + 44100] for start in range(44100, 470000, 66150)])
    assert min(start, end) > 0.9
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal((6, 1, 44100)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.fft.rfftfreq(44100, 1 / 44100).clip(20)))
    start, end = faded(list((noise / noise.std() / 10).astype(np.float32)))
    assert min(start, end) > 0.8


def test_music_survives(mini: EncoderDecoder) -> None:
    """The bundled model codes real music: the spectrum comes back far nearer than silence or noise."""
    import soundfile

    samples, _rate = soundfile.read(CLIP, dtype="float32")
    back = mini.decompress(mini.compress(CLIP).rounded())
    assert back.shape == samples.T.shape

    def distance(a: np.ndarray, b: np.ndarray) -> float:
        from music2latent.spectrogram import spectrogram

        one, two = (spectrogram(torch.from_numpy(np.ascontiguousarray(x)), 512).norm(dim=1) for x in (a, b))
        return relative_error(two, one)

    noise = np.random.default_rng(0).standard_normal(samples.T.shape).astype(np.float32) * samples.std()
    assert distance(samples.T, back) < 0.7
    assert distance(samples.T, noise) > 0.9


def test_48_khz_at_its_own_rate(tiny: EncoderDecoder) -> None:
    audio = sound(1, 96000)
    latents = tiny.compress(audio, 48000, coding_rate=48000)
    assert latents.coding_rate == 48000
    assert latents.values.shape[-1] == windows.latents_needed(96000, tiny.config)
    assert latents.values.shape[-1] / 2 == pytest.approx(11.72, abs=0.5)
    assert relative_error(latents.values[..., :1], tiny.compress(audio, 44100).values[..., :1]) < 0.01
    assert tiny.decompress(latents).shape == audio.shape
    assert tiny.compress(audio, 48000).coding_rate == 44100


def test_through_a_file(tmp_path: Path, tiny: EncoderDecoder) -> None:
    latents = tiny.compress(sound(2, 30000), 48000)
    latents.save(tmp_path / "a.m2l")
    loaded = Latents.load(tmp_path / "a.m2l")
    assert np.array_equal(tiny.decompress(loaded), tiny.decompress(latents.rounded()))
    assert relative_error(tiny.decompress(loaded), tiny.decompress(latents)) < 0.01


@pytest.mark.parametrize("rate", [44100.0, np.int64(44100), np.float32(44100)])
def test_any_whole_number_is_a_rate(tmp_path: Path, tiny: EncoderDecoder, rate: float) -> None:
    tiny.compress(sound(1, 5000), rate).save(tmp_path / "a.m2l")
    assert Latents.load(tmp_path / "a.m2l").sample_rate == 44100
    with pytest.raises(InputError, match="sample_rate = 44100.5; accepted"):
        tiny.compress(sound(1, 5000), 44100.5)
    with pytest.raises(InputError, match="decompress takes Latents, not str"):
        tiny.decompress("a.m2l")


def test_progress_runs_to_one(tiny: EncoderDecoder) -> None:
    done: list[float] = []
    latents = tiny.compress(sound(1, 44100 * 8), 44100, window_seconds=3, progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 1
    assert len(done) > 2
    done.clear()
    tiny.decompress(latents, window_seconds=4, progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 1
    assert len(done) > 1


def test_another_model_is_refused_by_name(tiny: EncoderDecoder, mini: EncoderDecoder) -> None:
    latents = tiny.compress(sound(1, 9000), 44100)
    with pytest.raises(InputError, match=r"of model 'tiny' \(\w{12}\) cannot be decoded by 'mini-v2' \(531bbdf077f6\)"):
        mini.decompress(latents)


def test_records_that_contradict_themselves(tiny: EncoderDecoder) -> None:
    latents = tiny.compress(sound(1, 9000), 44100)
    with pytest.raises(InputError, match=r"do not hold 90000 samples at 44100 Hz; that takes \[C, 64, 23\]"):
        tiny.decompress(replace(latents, num_samples=90000))
    with pytest.raises(InputError, match=r"that takes \[C, 64, 3\]"):
        tiny.decompress(replace(latents, values=latents.values[:, :32]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window_seconds": 0.1}, "window_seconds = 0.1; this model needs 1.67 s or more"),
        ({"window_seconds": float("inf")}, "window_seconds = inf"),
        ({"coding_rate": 22050}, "coding_rate = 22050; accepted: 44100, 48000"),
    ],
)
def test_refused_compress_arguments(tiny: EncoderDecoder, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny.compress(sound(1, 9000), 44100, **arguments)


def test_refused_decompress_arguments(tiny: EncoderDecoder) -> None:
    latents = tiny.compress(sound(1, 9000), 44100)
    with pytest.raises(InputError, match="num_steps = 0"):
        tiny.decompress(latents, num_steps=0)
    with pytest.raises(InputError, match="seed = -1; accepted: whole numbers from 0"):
        tiny.decompress(latents, seed=-1)
