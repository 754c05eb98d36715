"""compress and decompress: everything comes back, whatever the rate, length, channels and chunks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from music2latent import EncoderDecoder, InputError, Latents, chunks
from music2latent.audio import open_audio, read_whole, write_audio
from music2latent.stft import log_spectral_distance

from .helpers import CLIP, reference_checkpoint, relative_error, sound, tiny_weights


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
    """Music that is cut into, and noise, start and end as loud as they go on."""

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
    for slope in (0, 1):  # white and pink
        noise = np.fft.irfft(spectrum / np.fft.rfftfreq(44100, 1 / 44100).clip(20) ** (slope / 2))
        start, end = faded(list((noise / noise.std() / 10).astype(np.float32)))
        assert min(start, end) > 0.72


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


def test_more_steps_do_no_harm(mini: EncoderDecoder) -> None:
    clip = torch.from_numpy(read_whole(open_audio(CLIP), 44100)[:1, : 4 * 44100].copy())
    latents = mini.compress(clip, 44100)
    one, *more = (
        float(log_spectral_distance(torch.from_numpy(mini.decompress(latents, num_steps=steps)), clip))
        for steps in (1, 2, 4, 15)
    )
    assert max(more) < 1.02 * one


@pytest.mark.parametrize(("slope", "decibels"), [(0, 2.5), (1, 1.5)])  # white and pink
def test_noise_keeps_its_level(mini: EncoderDecoder, slope: int, decibels: float) -> None:
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal((1, 44100)))
    noise = np.fft.irfft(spectrum / np.fft.rfftfreq(44100, 1 / 44100).clip(20) ** (slope / 2))
    for level in (0.01, 0.03, 0.1):
        back = mini.reconstruct(noise / noise.std() * level, 44100)
        assert abs(20 * np.log10(back.std() / level)) < decibels


def test_48_khz_at_its_own_rate(tiny: EncoderDecoder) -> None:
    audio = sound(1, 96000)
    latents = tiny.compress(audio, 48000, coding_rate=48000)
    assert latents.coding_rate == 48000
    assert latents.values.shape[-1] == chunks.latents_needed(96000, tiny.config)
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
def test_any_whole_number_is_a_rate(tmp_path: Path, tiny: EncoderDecoder, rate: Any) -> None:
    tiny.compress(sound(1, 5000), rate).save(tmp_path / "a.m2l")
    assert Latents.load(tmp_path / "a.m2l").sample_rate == 44100
    with pytest.raises(InputError, match="sample_rate = 44100.5; accepted"):
        tiny.compress(sound(1, 5000), 44100.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="decompress takes Latents, not str"):
        tiny.decompress("a.m2l")  # type: ignore[arg-type]


def test_progress_runs_to_one(tiny: EncoderDecoder) -> None:
    done: list[float] = []
    latents = tiny.compress(sound(1, 44100 * 8), 44100, chunk_seconds=3, progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 1
    assert len(done) > 2
    done.clear()
    tiny.decompress(latents, chunk_seconds=4, progress=done.append)
    assert done == sorted(done)
    assert done[-1] == 1
    assert len(done) > 1


def test_another_model_is_refused_by_name(tiny: EncoderDecoder, mini: EncoderDecoder) -> None:
    latents = tiny.compress(sound(1, 9000), 44100)
    with pytest.raises(InputError, match=r"of model 'tiny' \(\w{12}\) cannot be decoded by 'mini-v8' \(8038275e6ace\)"):
        mini.decompress(latents)


def test_latents_of_the_model_that_this_was_trained_on_from(tiny: EncoderDecoder, tmp_path: Path) -> None:
    weights = tiny_weights()
    weights["conv_out.weight"] = weights["conv_out.weight"] + 0.01
    trained = replace(reference_checkpoint("tiny"), state_dict=weights, model_id="trained")
    codec = EncoderDecoder(model=replace(trained, latents_of=(tiny.fingerprint,)), device="cpu", dtype="float32")
    latents = tiny.compress(sound(1, 9000), 44100)
    assert not np.array_equal(codec.decompress(latents), tiny.decompress(latents))
    assert torch.equal(
        codec.decode(latents.values, seed=0),
        codec.decode(latents.values, seed=0, model_id="tiny", fingerprint=latents.fingerprint),
    )
    for other, values in ((tiny, codec.compress(sound(1, 9000), 44100)), (EncoderDecoder(model=trained), latents)):
        with pytest.raises(InputError, match="cannot be decoded by"):
            other.decompress(values)
    with torch.no_grad():
        codec.gen.encoder.conv_inp.weight.add_(0.01)  # whoever changes it has other latents
    codec.save_pretrained(tmp_path / "changed")
    for changed in (codec, EncoderDecoder.from_pretrained(tmp_path / "changed")):
        with pytest.raises(InputError, match="cannot be decoded by"):
            changed.decompress(latents)


def test_records_that_contradict_themselves(tiny: EncoderDecoder) -> None:
    latents = tiny.compress(sound(1, 9000), 44100)
    with pytest.raises(InputError, match=r"do not hold 90000 samples at 44100 Hz; that takes \[C, 64, 23\]"):
        tiny.decompress(replace(latents, num_samples=90000))
    with pytest.raises(InputError, match=r"latents of 32 numbers for 4096 samples.*this model gives 64"):
        tiny.decompress(replace(latents, values=latents.values[:, :32]))
    with pytest.raises(InputError, match="at 1000 Hz, 1536 of them mirrored; this model gives 64 for 4096 at 44100 Hz"):
        tiny.decompress(replace(latents, coding_rate=1000, sample_rate=1000))
    for verb in (tiny.encode, tiny.compress):
        with pytest.raises(InputError, match="these are latents already; decompress makes audio of them"):
            verb(latents)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunk_seconds": 0.1}, "chunk_seconds = 0.1; this model needs 1.67 s or more"),
        ({"chunk_seconds": float("inf")}, "chunk_seconds = inf"),
        ({"coding_rate": 22050}, "coding_rate = 22050; accepted: 44100, 48000"),
    ],
)
def test_refused_compress_arguments(tiny: EncoderDecoder, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        tiny.compress(sound(1, 9000), 44100, **arguments)


def test_refused_decompress_arguments(tiny: EncoderDecoder) -> None:
    latents = tiny.compress(sound(1, 9000), 44100)
    with pytest.raises(InputError, match="num_steps = 0"):
        tiny.decompress(latents, num_steps=0)
    with pytest.raises(InputError, match="seed = -1; accepted: whole numbers from 0"):
        tiny.decompress(latents, seed=-1)
