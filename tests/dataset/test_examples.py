from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from music2latent import EncoderDecoder, InputError
from music2latent.audio import write_audio
from music2latent.dataset import LatentDataset, collate
from music2latent.dataset.collection import Collection
from music2latent.dataset.encoding import encode
from music2latent.dataset.examples import Normalisation

from ..helpers import relative_error, sound
from .inline import Inline

Build = Callable[..., Path]
BOTH = ["webdataset", "stable-audio-tools"]
"""Formats whose latents lie as `compress` has them, and in the middle of their frames."""


def raw(path: Path, index: int) -> torch.Tensor:
    return torch.from_numpy(Collection(path).read(index).floats)


# ------------------------------------------------------------------------------------------------ crops


@pytest.mark.parametrize("format", BOTH)
def test_a_crop_is_a_part_of_its_item(format: str, build: Build) -> None:
    data, starts = LatentDataset(build(format), length=40, normalise=False), set()
    for epoch in range(30):
        data.set_epoch(epoch)
        example, item = data[3], raw(build(format), 3)
        start = round(example.seconds_start * 44100 / 8)
        assert example.seconds_start * 44100 == pytest.approx(8 * start)
        assert torch.equal(example.latents, item[..., start : start + 40])
        assert example.padding_mask.all()
        assert 0 < example.origin.num_samples <= 40 * 8
        starts.add(start)
    assert len(starts) > 15
    assert min(starts) < 20
    assert max(starts) > item.shape[-1] - 60


def test_crops_depend_on_seed_epoch_and_number_alone(build: Build) -> None:
    def crops(seed: int, epoch: int) -> list[float]:
        data = LatentDataset(build(), length=20, seed=seed)
        data.set_epoch(epoch)
        assert data.epoch == epoch
        forward = [data[index].seconds_start for index in range(7)]
        assert [data[index].seconds_start for index in reversed(range(7))] == forward[::-1]
        return forward

    assert crops(0, 0) == crops(0, 0)
    assert len({tuple(crops(seed, epoch)) for seed in range(2) for epoch in range(2)}) == 4


def test_every_crop_begins_in_the_audio(stored: Path) -> None:
    """The last latents lie behind its end."""
    data = LatentDataset(stored, length=1)
    for epoch in range(300):
        data.set_epoch(epoch)
        assert data[0].seconds_start < data[0].seconds_total


@pytest.mark.parametrize("length", [60, 2000])
def test_shorter_items_are_filled_with_zeros_after_normalising(build: Build, length: int) -> None:
    whole, data = LatentDataset(build()), LatentDataset(build(), length=length)
    example, expected = data[0], whole[0].latents  # 52 latents
    known = expected.shape[-1]
    assert example.latents.shape == (2, 2, length)
    assert example.padding_mask.tolist() == [True] * known + [False] * (length - known)
    assert torch.equal(example.latents[..., :known], expected)
    assert not example.latents[..., known:].any()


def test_padding_of_the_data_set_is_no_audio(build: Build) -> None:
    path = build("stable-audio-tools", crop_seconds=0.005)  # 28 latents
    collection = Collection(path)
    last = next(index for index in range(99) if collection.read(index).facts["padding"])
    real = 28 - collection.read(last).facts["padding"]
    assert LatentDataset(path)[last].latents.shape[-1] == real
    data = LatentDataset(path, length=28)
    assert data[last].padding_mask.sum() == real
    for epoch in range(20):
        data = LatentDataset(path, length=real - 2, seed=epoch)
        assert data[last].padding_mask.all()


# ------------------------------------------------------------------------------------------------ values


def test_the_whole_set_has_zero_mean_and_unit_variance(stored: Path) -> None:
    data = LatentDataset(stored)
    values = torch.cat([example.latents.transpose(0, 1).flatten(1) for example in data], -1)
    assert values.mean(-1).abs().max() < 1e-3
    assert (values.std(-1) - 1).abs().max() < 1e-3
    for index in range(len(data)):
        assert torch.allclose(data.denormalise(data[index].latents), raw(stored, index), atol=1e-4)
    plain = LatentDataset(stored, normalise=False)
    assert torch.equal(plain[4].latents, raw(stored, 4))
    assert plain.denormalise(plain[4].latents) is not None
    assert plain.statistics == data.statistics


@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(0.001, 9) | st.just(0.0)), min_size=1, max_size=5),
    st.lists(st.integers(1, 3), max_size=3),
)
@settings(deadline=None)
def test_denormalising_is_the_way_back(channels: list[tuple[float, float]], shape: list[int]) -> None:
    mean, std = map(list, zip(*channels, strict=True))
    one = Normalisation.of({"mean": mean, "std": std})
    values = torch.randn(*shape, len(mean), 3)
    assert torch.allclose(one.undo(one.apply(values)), values, atol=1e-4)


@pytest.mark.parametrize(
    "statistics",
    [
        {},
        None,
        3,
        {"mean": [0.0], "std": [1.0, 1.0]},
        {"mean": [0.0], "std": [-1.0]},
        {"mean": [float("nan")], "std": [1.0]},
        {"mean": [[0.0]], "std": [[1.0]]},
        {"mean": ["a"], "std": ["b"]},
        {"mean": 0.0, "std": 1.0},
    ],
)
def test_no_statistics_are_refused(statistics: Any) -> None:
    with pytest.raises(InputError, match="expected .'mean'"):
        Normalisation.of(statistics)


def test_statistics_of_ones_own(build: Build, songs: Path, least: EncoderDecoder, tmp_path: Path) -> None:
    given = {"mean": [1.0, 2.0], "std": [2.0, 4.0]}
    example = LatentDataset(build(), statistics=given)[2]
    expected = (raw(build(), 2) - torch.tensor([[1.0], [2.0]])) / torch.tensor([[2.0], [4.0]])
    assert torch.allclose(example.latents, expected)
    with pytest.raises(InputError, match=re.escape("[2, 2, 87], and statistics of 1 channels; expected [..., 1, L]")):
        LatentDataset(build(), statistics={"mean": [1.0], "std": [2.0]})[2]
    least.compress(songs / "deep" / "2.flac").save(tmp_path / "2.m2l")
    assert torch.allclose(LatentDataset(tmp_path, statistics=given)[0].latents, expected, atol=0.02)
    assert LatentDataset(tmp_path, normalise=False)[0].latents.shape == (2, 2, 87)
    with pytest.raises(InputError, match="pass normalise=False or statistics="):
        LatentDataset(tmp_path)


def test_channels(build: Build) -> None:
    whole = LatentDataset(build())[1].latents
    assert torch.equal(LatentDataset(build(), channels="first")[1].latents, whole[0])
    assert torch.allclose(LatentDataset(build(), channels="mean")[1].latents, whole.mean(0), atol=1e-5)
    data, drawn = LatentDataset(build(), channels="random"), set()
    for epoch in range(20):
        data.set_epoch(epoch)
        (channel,) = (number for number in range(2) if torch.equal(data[1].latents, whole[number]))
        assert torch.equal(data[1].latents, whole[channel])
        drawn.add(channel)
    assert drawn == {0, 1}


def test_prompt_and_metadata(build: Build) -> None:
    example = LatentDataset(build())[3]
    assert (example.prompt, example.key) == ("song 3", "deep/3")
    assert example.metadata == {"caption": "song 3", "tempo": "103"}
    data = LatentDataset(build(), prompt=lambda facts: f"{facts['metadata']['tempo']} bpm, {facts['channels']}")
    assert data[3].prompt == "103 bpm, 2"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, "length = 0; accepted: whole numbers from 1"),
        ({"length": 2.5}, "length = 2.5; accepted: whole numbers"),
        ({"channels": "left"}, "channels = 'left'; accepted: all, first, random, mean"),
        ({"seed": -1}, "seed = -1; accepted"),
    ],
)
def test_arguments_out_of_range_are_refused(build: Build, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        LatentDataset(build(), **arguments)


# ------------------------------------------------------------------------------------------------ decoding


@pytest.mark.parametrize("options", [{}, {"int8": True}, {"crop_seconds": 0.006}, {"format": "m2l"}])
def test_a_crop_decodes_to_what_its_latents_do(build: Build, least: EncoderDecoder, options: dict[str, Any]) -> None:
    collection, data = Collection(build(**options)), LatentDataset(build(**options), length=25)
    for index, example in enumerate(islice(data, 12)):
        item = collection.read(index)
        start = round((example.seconds_start - item.facts["seconds_start"]) * 44100 / 8)
        values = item.floats[..., start : start + 25]
        audio = example.decode(least, seed=3)
        assert audio.shape == (2, example.origin.num_samples)
        rate = item.facts["sample_rate"]
        begin = round(start * 8 * rate / 44100)
        assert begin + audio.shape[-1] == min(begin + (8 * 25 - 12) * rate // 44100, item.facts["num_samples"])
        there = least.latents(values, sample_rate=rate, num_samples=audio.shape[-1])
        assert relative_error(audio, least.decompress(there, seed=3)) < 1e-4


@pytest.mark.parametrize("format", BOTH)
def test_whole_items_decode_to_as_much_audio_as_there_was(format: str, build: Build, least: EncoderDecoder) -> None:
    data = LatentDataset(build(format), length=1000)
    for index, example in enumerate(data):
        assert example.decode(least).shape == (2, 400 + 170 * index)
    assert LatentDataset(build(format), channels="mean")[5].decode(least).shape == (1, 1250)


def test_whole_items_decode_as_the_codec_decodes_them(build: Build, songs: Path, least: EncoderDecoder) -> None:
    for index, example in enumerate(LatentDataset(build(), length=1000)):
        latents = least.compress(songs / "deep" / f"{index}.flac").rounded()
        expected = least.decompress(latents, seed=1, num_steps=2)
        assert relative_error(example.decode(least, seed=1, num_steps=2), expected) < 0.05


@pytest.mark.parametrize("format", BOTH)
def test_audio_lies_where_it_was(format: str, mini: EncoderDecoder, tmp_path: Path) -> None:
    """Bursts of noise come back at the second at which they were, in whole items and in crops."""
    audio = np.zeros((1, 3 * 44100), np.float32)
    for second in range(3):
        audio[:, second * 44100 + 22050 :][:, :2000] = sound(1, 2000)
    write_audio(tmp_path / "bursts.flac", [audio], 44100, *audio.shape)
    encode([tmp_path / "bursts.flac"], tmp_path / "set", mini, format=format, engine=Inline())
    for length, epoch in ((None, 0), (14, 0), (14, 1), (14, 2)):
        data = LatentDataset(tmp_path / "set", length=length)
        data.set_epoch(epoch)
        decoded = data[0].decode(mini)
        first = round(data[0].seconds_start * 44100)
        expected = audio[:, first : first + decoded.shape[-1]]
        assert decoded.shape == expected.shape
        loud = [np.convolve(np.abs(one[0]), np.ones(500), "same") for one in (decoded, expected)]
        shifts = range(-3000, 3001, 250)
        best = max(shifts, key=lambda shift: float(loud[0] @ np.roll(loud[1], shift)))
        assert abs(best) <= 500


def test_another_model_and_features_are_refused(build: Build, tiny: EncoderDecoder, least: EncoderDecoder) -> None:
    with pytest.raises(InputError, match="deep/0: latents of the model 'least' .* cannot be decoded by 'tiny'"):
        LatentDataset(build())[0].decode(tiny)
    follower = EncoderDecoder(model=replace(least.checkpoint, latent_scale=0.5, latents_of=(least.fingerprint,)))
    assert follower.fingerprint != least.fingerprint
    assert LatentDataset(build())[0].decode(follower).any()
    example = LatentDataset(build(features=True), length=5)[0]
    assert example.latents.shape == (2, least.feature_dim, 5)
    with pytest.raises(InputError, match="deep/0: the encoder's features, which cannot be decoded"):
        example.decode(least)


# ------------------------------------------------------------------------------------------------ batches


def test_collate(build: Build) -> None:
    data = LatentDataset(build())
    examples = [data[index] for index in range(3)]
    batch = collate(examples)
    lengths = [example.latents.shape[-1] for example in examples]
    assert batch["latents"].shape == (3, 2, 2, max(lengths))
    assert batch["padding_mask"].sum(-1).tolist() == lengths
    for row, example, length in zip(batch["latents"], examples, lengths, strict=True):
        assert torch.equal(row[..., :length], example.latents)
        assert not row[..., length:].any()
    assert batch["prompt"] == ["song 0", "song 1", "song 2"]
    assert batch["key"] == ["deep/0", "deep/1", "deep/2"]
    assert batch["metadata"][2] == {"caption": "song 2", "tempo": "102"}
    assert batch["seconds_start"].tolist() == [0, 0, 0]
    assert batch["seconds_total"].tolist() == pytest.approx([example.seconds_total for example in examples])
    mono = replace(examples[0], latents=examples[0].latents[:1])
    with pytest.raises(InputError, match="examples of 1 and 2 channels in one batch; pass channels='first'"):
        collate([examples[1], mono])
