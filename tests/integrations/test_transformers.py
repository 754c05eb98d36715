"""The model in the real transformers: registered, saved and loaded to the bit, and as EncodecModel is called."""

from __future__ import annotations

import dataclasses
import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, EncodecFeatureExtractor, EncodecModel
from transformers.utils import logging

from music2latent import EncoderDecoder, InputError, ModelConfig
from music2latent.autoencoder import parameter_shapes
from music2latent.checkpoint import Checkpoint, write_safetensors
from music2latent.chunks import ChunkPlan
from music2latent.integrations.transformers import Music2LatentConfig, Music2LatentModel

from ..helpers import gradient, reference_checkpoint, relative_error, sound

logging.disable_progress_bar()
AUDIO = torch.from_numpy(sound(4, 12000)).view(2, 2, 12000)


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """Every fact set."""
    facts: dict[str, Any] = {
        "chunk_plan": ChunkPlan(3, 1),
        "provenance": "made up",
        "license": "MIT",
        "latents_of": ("a",),
    }
    mean, std = (0.5,) * 64, (0.25,) * 64
    return dataclasses.replace(reference_checkpoint("tiny"), latent_mean=mean, latent_std=std, **facts)


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> Music2LatentModel:
    return Music2LatentModel.from_codec(checkpoint)


@pytest.fixture(scope="module")
def folder(model: Music2LatentModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved")
    model.save_pretrained(path)
    return path


def same(one: Checkpoint, two: Checkpoint) -> bool:
    facts = [dataclasses.replace(checkpoint, state_dict=one.state_dict) for checkpoint in (one, two)]
    return facts[0] == facts[1] and all(torch.equal(two.state_dict[key], one.state_dict[key]) for key in one.state_dict)


# ------------------------------------------------------------------------------------------------ stored


def test_the_auto_classes_load_what_was_saved_to_the_bit(folder: Path, model: Music2LatentModel) -> None:
    loaded = AutoModel.from_pretrained(folder)
    assert type(loaded) is Music2LatentModel
    assert type(AutoConfig.from_pretrained(folder)) is Music2LatentConfig
    assert same(loaded.to_checkpoint(), model.to_checkpoint())
    with torch.no_grad():
        assert all(torch.equal(*pair) for pair in zip(loaded(AUDIO).values(), model(AUDIO).values(), strict=True))


def test_one_folder_for_both_packages(folder: Path, checkpoint: Checkpoint) -> None:
    codec = EncoderDecoder.from_pretrained(folder, device="cpu", dtype="float32")
    assert same(codec.checkpoint, checkpoint)


def test_a_file_of_ours_with_a_configuration_is_such_a_folder(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_safetensors(tmp_path / "model.safetensors", checkpoint)
    Music2LatentConfig.from_checkpoint(checkpoint).save_pretrained(tmp_path)
    assert same(Music2LatentModel.from_pretrained(tmp_path).to_checkpoint(), checkpoint)


def test_missing_weights_are_refused(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["conv_inp.bias"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"1 weights are missing, among them conv_inp.bias"):
        AutoModel.from_pretrained(tmp_path)


def test_keys_are_the_packages_own(model: Music2LatentModel, checkpoint: Checkpoint) -> None:
    assert list(model.state_dict()) == list(parameter_shapes(checkpoint.config))


def test_from_codec_takes_names_and_paths(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_safetensors(tmp_path / "model.safetensors", checkpoint)
    assert same(Music2LatentModel.from_codec(tmp_path / "model.safetensors").to_checkpoint(), checkpoint)
    assert Music2LatentModel.from_codec().config.model_id.startswith("mini")
    with pytest.raises(InputError, match="unknown model 'none'"):
        Music2LatentModel.from_codec("none")


def test_configuration() -> None:
    assert Music2LatentConfig().model == ModelConfig()
    config = Music2LatentConfig(heads=2, chunk_plan={"length": 8, "overlap": 2}, id2label={0: "music"})
    assert config.sampling_rate == config.sample_rate == 44100
    again = Music2LatentConfig.from_dict(json.loads(config.to_json_string(use_diff=False)))
    assert again.model == dataclasses.replace(ModelConfig(), heads=2)
    assert again.plan == ChunkPlan(8, 2)
    with pytest.raises(InputError, match="heads = 'two'"):
        Music2LatentConfig(heads="two")


def test_a_new_model_starts_as_the_networks_do(checkpoint: Checkpoint) -> None:
    new = Music2LatentModel(Music2LatentConfig.from_checkpoint(checkpoint)).state_dict()
    assert not new["conv_out.weight"].any()
    assert new["conv_inp.weight"].any()


def test_trained_weights_are_saved(tmp_path: Path, checkpoint: Checkpoint) -> None:
    model = Music2LatentModel.from_codec(checkpoint)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(AUDIO[..., :5000]).audio_values.square().mean().backward()
    optimizer.step()
    model.save_pretrained(tmp_path)
    saved = EncoderDecoder.from_pretrained(tmp_path).checkpoint
    assert same(saved, model.to_checkpoint())
    assert saved.fingerprint() != checkpoint.fingerprint()
    with pytest.raises(InputError, match=r"call model.push_to_hub\(repo_id\)"):
        model.save_pretrained(tmp_path, push_to_hub=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_16_bits(folder: Path, tmp_path: Path, model: Music2LatentModel, dtype: torch.dtype) -> None:
    half = AutoModel.from_pretrained(folder, dtype=dtype)
    assert half.dtype == half.coding.model.dtype == dtype
    with torch.no_grad():
        found, expected = half.encode(AUDIO[:1, :1].to(dtype)).latents, model.encode(AUDIO[:1, :1]).latents
    assert found.dtype == torch.float32
    assert relative_error(found, expected) < 0.2
    half.save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path)
    assert again.dtype == dtype
    assert all(torch.equal(*pair) for pair in zip(again.parameters(), half.parameters(), strict=True))


# ------------------------------------------------------------------------------------------------ called


@pytest.mark.parametrize("samples", [1, 12000])
def test_the_numbers_are_those_of_compress(model: Music2LatentModel, checkpoint: Checkpoint, samples: int) -> None:
    codec, audio = EncoderDecoder(model=checkpoint, device="cpu", dtype="float32"), AUDIO[..., :samples]
    with torch.no_grad():
        found = model(audio, num_steps=2, seed=5)
    assert found.audio_values.shape == audio.shape
    for item, latents, decoded in zip(audio, found.latents, found.audio_values, strict=True):
        expected = codec.compress(item, 44100)
        assert relative_error(latents, expected.values) < 1e-3
        assert relative_error(decoded, codec.decompress(expected, num_steps=2, seed=5)) < 1e-3


def test_forward_is_encode_and_decode(model: Music2LatentModel) -> None:
    with torch.no_grad():
        both, latents = model(AUDIO, return_dict=False), model.encode(AUDIO).latents
        audio = model.decode(latents).audio_values
    assert audio.shape[-1] == 4 * 4096 - 1536
    assert torch.equal(both[0], latents)
    assert relative_error(both[1], audio[..., :12000]) < 1e-5
    assert isinstance(model.encode(AUDIO, return_dict=False), tuple)


def test_padding_changes_no_item(model: Music2LatentModel) -> None:
    clips = [AUDIO[0].numpy(), AUDIO[1, :, :7000].numpy(), AUDIO[1].numpy()]
    extractor = EncodecFeatureExtractor(feature_size=2, sampling_rate=44100)
    inputs = extractor(clips, sampling_rate=44100, return_tensors="pt")
    with torch.no_grad():
        found = model(**inputs)
        for item, clip in enumerate(clips):
            alone = model(torch.from_numpy(clip)[None])
            count = alone.latents.shape[-1]
            assert relative_error(found.latents[item, ..., :count], alone.latents[0]) < 1e-5
            assert relative_error(found.audio_values[item, :, : clip.shape[1]], alone.audio_values[0]) < 1e-4
            assert not found.latents[item, ..., count:].any()
            assert not found.audio_values[item, :, clip.shape[1] :].any()


def test_the_feature_extractor_is_found(tmp_path: Path, folder: Path) -> None:
    EncodecFeatureExtractor(feature_size=2, sampling_rate=44100).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    facts = json.loads((tmp_path / "preprocessor_config.json").read_text())
    del facts["feature_extractor_type"]  # then it follows from the model
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(facts))
    assert type(AutoFeatureExtractor.from_pretrained(tmp_path)) is EncodecFeatureExtractor


def test_gradients_reach_audio_and_weights(model: Music2LatentModel) -> None:
    audio = AUDIO[:1, :1, :5000].clone().requires_grad_()
    model(audio, torch.ones(1, 5000)).audio_values.square().sum().backward()
    assert bool(gradient(audio).isfinite().all())
    assert gradient(audio).abs().min() > 0
    assert gradient(model.encoder.gain.scale).any()
    model.zero_grad()


def test_signatures_are_encodecs() -> None:
    for verb in ("encode", "forward"):
        models = EncodecModel, Music2LatentModel
        theirs, ours = (list(inspect.signature(getattr(model, verb)).parameters) for model in models)
        assert ours[:3] == theirs[:3]
        assert "return_dict" in ours


@pytest.mark.parametrize(
    ("audio", "mask", "message"),
    [
        (AUDIO[0], None, r"input_values of shape \[2, 12000\]; expected \[B, C, n\]"),
        (AUDIO * float("inf"), None, "NaN or infinite"),
        (AUDIO, torch.ones(2, 11999), r"padding_mask of shape \[2, 11999\]; expected \[2, 12000\] or"),
        (AUDIO, torch.ones(2, 12000).index_fill(1, torch.tensor([5]), 0), "padding before samples"),
        (AUDIO, torch.zeros(2, 12000), "number of samples = 0"),
    ],
)
def test_refusals(model: Music2LatentModel, audio: Tensor, mask: Tensor | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.encode(audio, mask)


@pytest.mark.parametrize(
    ("latents", "options", "message"),
    [
        (torch.zeros(2, 64, 3), {}, r"latents of shape \[2, 64, 3\]; expected \[B, C, D, L\]"),
        (torch.zeros(2, 2, 63, 3), {}, r"latents of shape \[2, 2, 63, 3\]"),
        (torch.zeros(2, 2, 64, 1), {"padding_mask": torch.ones(2, 2561)}, "mask of 2561 samples; 1 latents hold fewer"),
        (torch.zeros(2, 2, 64, 1), {"num_steps": 0}, "num_steps = 0"),
        (torch.zeros(2, 2, 64, 1), {"seed": -1}, "seed = -1"),
    ],
)
def test_refusals_of_decode(model: Music2LatentModel, latents: Tensor, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.decode(latents, **options)
