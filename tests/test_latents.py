"""The record `Latents`: what it accepts, and what can be done with it in time."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from music2latent import EncoderDecoder, InputError, Latents
from music2latent.audio import open_audio, read_whole
from music2latent.stft import log_spectral_distance

from .helpers import CLIP

FACTS: dict[str, Any] = {
    "sample_rate": 48000,
    "num_samples": 9000,
    "coding_rate": 44100,
    "model_id": "m",
    "fingerprint": "f" * 64,
}
ORIGIN: dict[str, Any] = {"model_id": "m", "fingerprint": "f" * 64}


def record(**changes: Any) -> Latents:
    return Latents(**{"values": torch.randn(2, 64, 3)} | FACTS | changes)


def long(length: int = 200, **changes: Any) -> Latents:
    """Latents that say in their values which they are."""
    numbers = torch.arange(length, dtype=torch.float32).expand(1, 2, length)
    return Latents.from_array(numbers, **ORIGIN | changes)


def test_facts() -> None:
    latents = record()
    assert (latents.channels, latents.duration) == (2, 9000 / 48000)
    assert latents.shape == (2, 64, 3)
    assert latents.frame_rate == pytest.approx(10.7666, abs=1e-4)
    assert latents.bitrate() == pytest.approx(2 * 64 * 3 * 16 / (9000 / 48000) / 1000)


# ------------------------------------------------------------------------------------------------ arrays


def test_as_an_array() -> None:
    latents = record()
    assert np.shares_memory(latents.numpy(), latents.values.numpy())
    assert np.array_equal(np.asarray(latents), latents.values)
    assert np.asarray(latents, np.float16).dtype == np.float16
    assert not np.shares_memory(np.array(latents), latents.numpy())
    assert np.shares_memory(latents.__array__(copy=False), latents.numpy())
    with pytest.raises(ValueError, match="as float16 they are a copy"):
        latents.__array__(np.float16, copy=False)
    assert np.abs(latents).max() == float(latents.values.abs().max())
    assert np.concatenate([latents, latents]).shape == (4, 64, 3)


@pytest.mark.parametrize(
    "values",
    [
        np.ones((1, 64, 3)),
        np.ones((1, 64, 3), ">f4"),
        np.ones((1, 64, 3), np.longdouble),
        np.broadcast_to(np.float16(1), (1, 64, 3)),
        np.ones((3, 64, 1), np.float32)[::-1].T,
        torch.ones(1, 64, 3, dtype=torch.bfloat16),
        torch.ones(3, 64, 1).permute(2, 1, 0),
        torch.ones(1, 64, 3).tolist(),
    ],
)
def test_floats_of_any_kind_become_float32(values: Any) -> None:
    for latents in (record(values=values), Latents.from_array(values, **ORIGIN)):
        assert latents.values.dtype == torch.float32
        assert latents.values.is_contiguous()
        assert torch.equal(latents.values, torch.ones(1, 64, 3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(64, 3), r"^latents of shape \[64, 3\]; expected \[C, D, L\]"),
        (torch.zeros(1, 64, 0), r"shape \[1, 64, 0\]"),
        (torch.full((1, 64, 3), torch.nan), "NaN or infinite values"),
        (np.full((1, 64, 3), 1e300), "NaN or infinite values"),
        (torch.zeros(1, 64, 3, dtype=torch.int8), "of type torch.int8; expected an array or tensor of floats"),
        (np.zeros((1, 64, 3), complex), "of type complex128"),
        (np.zeros((1, 64, 3), bool), "of type bool"),
        ([[1.0], [2.0, 3.0]], "of type list"),
        (None, "of type NoneType"),
        ("a.npy", "of type str"),
        (torch.zeros(1, 64, 3, requires_grad=True), r"gradients.*values\.detach\(\)"),
    ],
)
def test_refused_values(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        record(values=values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_samples": 0}, "num_samples = 0; accepted"),
        ({"num_samples": 10**18}, "do not hold 1000000000000000000 samples at 48000 Hz"),
        ({"num_samples": 13376}, r"that takes \[C, 64, 4\]"),  # one sample more than three frames
        ({"num_samples": 1.5}, "num_samples = 1.5"),
        ({"sample_rate": 999}, "sample_rate = 999; accepted: whole numbers from 1000 to 768000"),
        ({"coding_rate": 768_001}, "coding_rate = 768001"),
        ({"frame_size": 0}, "frame_size = 0"),
        ({"model_id": "a" * 1001}, "accepted: Unicode text of up to 1000 characters"),
        ({"model_id": None}, "model_id = None"),
        ({"fingerprint": "\ud800"}, "fingerprint"),
        ({"features": torch.zeros(2, 8, 4)}, r"features of shape \[2, 8, 4\] beside latents \[2, 64, 3\]"),
        ({"features": torch.full((2, 8, 3), torch.inf)}, "features: NaN or infinite"),
    ],
)
def test_refused_facts(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(record(), **change)


def test_copies() -> None:
    latents = record(features=torch.ones(2, 5, 3))
    for twin in (copy.deepcopy(latents), pickle.loads(pickle.dumps(latents)), replace(latents)):
        assert torch.equal(twin.values, latents.values)
        assert twin.features is not None


@settings(deadline=None)
@given(st.integers(1, 50), st.sampled_from([8000, 22050, 44100, 48000, 192000]), st.sampled_from([44100, 48000]))
def test_generated_latents_hold_as_much_as_they_can(length: int, sample_rate: int, coding_rate: int) -> None:
    latents = long(length, sample_rate=sample_rate, coding_rate=coding_rate)
    held = (4096 * length - 1536) / coding_rate
    assert held - 1 / sample_rate < latents.duration <= held


def test_generated_latents_are_decoded(tiny: EncoderDecoder) -> None:
    origin: dict[str, Any] = {"model_id": tiny.model_id, "fingerprint": tiny.fingerprint}
    latents = Latents.from_array(np.random.default_rng(0).standard_normal((64, 5)), **origin)
    assert latents.shape == (1, 64, 5)
    assert tiny.decompress(latents).shape == (1, 5 * 4096 - 1536)
    other = Latents.from_array(torch.randn(2, 64, 5), sample_rate=22050, num_samples=9000, **origin)
    assert tiny.decompress(other).shape == (2, 9000)
    with pytest.raises(InputError, match=r"shape \[1, 2, 64, 5\]; expected \[D, L\] or \[C, D, L\]"):
        Latents.from_array(torch.zeros(1, 2, 64, 5), **origin)


# ------------------------------------------------------------------------------------------------ in time


def test_a_click_moves_the_latents_that_sound_then(mini: EncoderDecoder) -> None:
    clip = read_whole(open_audio(CLIP), 44100)[:1, : 2 * 44100]
    before = mini.compress(clip, 44100)
    late = []
    for second in np.linspace(0.5, 1.5, 13):
        clicked, at = clip.copy(), int(second * 44100)
        clicked[0, at : at + 20] += 0.9 * np.hanning(20)
        moved = np.square(mini.compress(clicked, 44100).numpy() - before.numpy()).sum(axis=(0, 1))
        assert moved.argmax() in np.abs(before.times - second).argsort()[:2]
        late.append((moved * before.times).sum() / moved.sum() - second)
    assert abs(np.median(late)) < 0.15 / before.frame_rate


@pytest.mark.parametrize(("rate", "coding_rate"), [(44100, 44100), (48000, 44100), (48000, 48000), (8000, 44100)])
def test_times_are_those_of_the_audio(tiny: EncoderDecoder, rate: int, coding_rate: int) -> None:
    latents = tiny.compress(np.zeros((1, 2 * rate)), rate, coding_rate=coding_rate)
    assert latents.times.shape == (latents.shape[-1],)
    assert latents.times[0] == pytest.approx((2048 - 768) / coding_rate)
    assert np.allclose(np.diff(latents.times), 1 / latents.frame_rate)
    assert latents.times[-2] < 2 < latents.times[-1] + 1 / latents.frame_rate


def test_a_piece_sounds_as_in_the_whole(mini: EncoderDecoder) -> None:
    """Where it lies in the whole, and nowhere else; its ends do not fade."""
    latents = mini.compress(read_whole(open_audio(CLIP), 44100)[:1, : 6 * 44100], 44100)
    whole, piece = (torch.from_numpy(mini.decompress(one))[0] for one in (latents, latents[2.0:4.0]))
    start, size, margin = round(2.0 * latents.frame_rate) * 4096, len(piece), 4096

    def distance(part: slice, shift: int = 0) -> float:
        return float(log_spectral_distance(piece[None, part], whole[None, start + shift :][:, :size][:, part]))

    def loudness(samples: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool1d(samples[margin:-margin].abs()[None], 256, 64)[0]

    inside = slice(margin, -margin)
    assert distance(inside) < 0.8 * min(distance(inside, -4096), distance(inside, 4096))
    shifts = range(-2048, 2049, 64)
    pairs = [torch.stack([loudness(piece), loudness(whole[start + shift :][:size])]) for shift in shifts]
    assert abs(shifts[int(np.argmax([float(torch.corrcoef(pair)[0, 1]) for pair in pairs]))]) <= 64
    for end in (slice(0, margin), slice(-margin, None)):
        assert float(piece[end].std() / whole[start:][:size][end].std()) > 0.7


def _piece(whole: Latents, start: float | None, stop: float | None) -> Latents | None:
    """None where nothing is left of it."""
    try:
        return whole[start:stop]
    except InputError:
        return None


TIMES = st.one_of(st.none(), st.floats(-25, 25))


@settings(deadline=None)
@given(TIMES, TIMES, st.sampled_from([8000, 44100, 48000, 192000]), st.sampled_from([44100, 48000]))
def test_pieces(start: float | None, stop: float | None, sample_rate: int, coding_rate: int) -> None:
    whole = long(sample_rate=sample_rate, coding_rate=coding_rate)
    frame = 1 / whole.frame_rate
    piece = _piece(whole, start, stop)
    if piece is None:
        return
    wanted = [whole.duration if stop is None else stop, start or 0.0]
    wanted = [min(max(t + whole.duration * (t < 0), 0), whole.duration) for t in wanted]
    begin = float(piece.values[0, 0, 0]) * frame
    assert abs(begin - wanted[1]) <= frame / 2 + 1e-6
    assert abs(begin + piece.duration - wanted[0]) <= frame / 2 + 1 / sample_rate
    assert torch.equal(piece.values[0, 0], torch.arange(piece.shape[-1]) + piece.values[0, 0, 0])
    assert piece.shape[-1] * frame >= piece.duration + 1536 / coding_rate - 1 / sample_rate  # or its end would fade


@settings(deadline=None)
@given(st.lists(st.floats(0, 19), max_size=5), st.sampled_from([8000, 44100, 48000]), st.booleans())
def test_pieces_of_one_record_fit(times: list[float], sample_rate: int, with_features: bool) -> None:
    whole = long(sample_rate=sample_rate)
    if with_features:
        whole = replace(whole, features=whole.values + 1)
    ends = [None, *sorted(times), None]
    pieces = [_piece(whole, start, stop) for start, stop in pairwise(ends)]
    back = Latents.concatenate(piece for piece in pieces if piece)
    assert torch.equal(back.values, whole.values)
    assert back.num_samples == whole.num_samples
    if with_features:
        assert back.features is not None
        assert torch.equal(back.features, whole.values + 1)


@settings(deadline=None)
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=30), st.sampled_from([8000, 44100, 48000]))
def test_lengths_add_up(lengths: list[int], sample_rate: int) -> None:
    parts = []
    for number, samples in enumerate(lengths):
        needed = -(-(-(-samples * 44100 // sample_rate) + 1536) // 4096)
        values = torch.full((1, 2, needed), float(number))
        parts.append(Latents.from_array(values, sample_rate=sample_rate, num_samples=samples, **ORIGIN))
    joined = Latents.concatenate(parts)
    assert abs(joined.duration - sum(part.duration for part in parts)) <= 0.5 / joined.frame_rate + 1 / sample_rate
    assert torch.equal(joined.values[..., -parts[-1].shape[-1] :], parts[-1].values)


def test_pieces_and_their_sum_are_decoded(tiny: EncoderDecoder) -> None:
    latents = tiny.compress(np.random.default_rng(0).standard_normal((2, 48000)) / 10, 48000)
    piece = latents[0.3:0.7]
    both = Latents.concatenate([piece, latents])
    assert tiny.decompress(piece).shape == (2, piece.num_samples)
    assert tiny.decompress(both).shape == (2, both.num_samples)


@pytest.mark.parametrize(
    ("index", "shown"),
    [
        (3, "3"),
        (1.5, "1.5"),
        (slice(2, 5), "2:5"),
        (slice(0.0, 1.0, 2), "0.0:1.0:2"),
        (slice(float("nan"), None), "nan:"),
        (slice("a", None), "'a':"),
        ((slice(None), 0), r"(slice(None, None, None), 0)"),
    ],
)
def test_refused_indices(index: Any, shown: str) -> None:
    with pytest.raises(InputError) as caught:
        long()[index]
    assert f"latents[{shown}]: a piece of latents is named in seconds, as floats: latents[2.0:5.5]" in str(caught.value)
    with pytest.raises(InputError, match="for latents by number take .values"):
        list(long())  # type: ignore[call-overload]


def test_numbers_that_are_seconds() -> None:
    for two in (np.float32(2), Fraction(2), float("2")):
        assert long()[:two].num_samples == long()[:2.0].num_samples
    with pytest.raises(InputError, match=r"latents\[30.0:\]: no whole frame of 0.093 s lies there.* 18.54 s"):
        long()[30.0:]
    assert torch.equal(long()[-2.0 : float("inf")].values, long()[-2.0:].values)


def test_refused_parts() -> None:
    for parts in ([], [long(), None], [long().values]):
        with pytest.raises(InputError, match="takes a list of one or more Latents"):
            Latents.concatenate(parts)  # type: ignore[arg-type]
    for change in ({"sample_rate": 48000}, {"coding_rate": 48000, "sample_rate": 44100}, {"fingerprint": "e"}):
        with pytest.raises(InputError, match=f"different {next(iter(change))} cannot be joined"):
            Latents.concatenate([long(), long(**change)])
    with pytest.raises(InputError, match="different channels cannot be joined: 1, 2"):
        Latents.concatenate([long(3), Latents.from_array(torch.zeros(2, 2, 3), **ORIGIN)])
    with pytest.raises(InputError, match="with and without features"):
        Latents.concatenate([long(), replace(long(), features=long().values)])


# ------------------------------------------------------------------------------------------------ notebooks


def test_shown() -> None:
    assert repr(record()) == "Latents([2, 64, 3], 0.19 s at 48000 Hz, 10.77 latents per second, model 'm')"
    assert len(repr(record(model_id="\x1b[31m\n" * 100))) < 250
    assert "\x1b" not in repr(record(model_id="\x1b[31m"))
    page = record(model_id="<script>alert(1)</script>")._repr_html_()
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "data:image/png;base64," in page
