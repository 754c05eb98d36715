"""info and convert."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from music2latent.chunks import ChunkPlan
from music2latent.pretrained import read_checkpoint

from ..helpers import Result, audio_file, reference_checkpoint


def test_info(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav", 2)
    assert Result("encode", song, "-m", model).code == 0
    done = Result("info", "--json", song, tmp_path / "a.m2l", model, "mini")
    assert done.code == 0, done.err
    audio, latents, tiny, mini = map(json.loads, done.out.splitlines())
    assert (audio["sample_rate"], audio["channels"], audio["num_samples"]) == (44100, 2, 9000)
    assert (latents["shape"], latents["model_id"]) == ([2, 64, 3], "tiny")
    assert latents["fingerprint"] == tiny["fingerprint"]
    assert (mini["num_parameters"], mini["frame_rate"]) == (8838242, 10.767)
    plain = Result("info", song, "missing.wav")
    assert "sample_rate    44100" in plain.out
    assert "missing.wav: no such file" in plain.err
    assert plain.code == 1


def test_convert(tmp_path: Path) -> None:
    weights = dict(reference_checkpoint("tiny").state_dict)
    torch.save({"gen_state_dict": weights}, tmp_path / "a.pt")
    done = Result("convert", tmp_path / "a.pt", tmp_path / "a.safetensors", "--license", "CC0", "--chunk", 8, 2)
    assert done.code == 0, done.err
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert (read.license, read.model_id, read.chunk_plan) == ("CC0", "a", ChunkPlan(8, 2))
    assert all(torch.equal(read.state_dict[key], weight) for key, weight in weights.items())
    assert "exists already" in Result("convert", tmp_path / "a.pt", tmp_path / "a.safetensors").err
    half = Result("convert", tmp_path / "a.pt", tmp_path / "a.safetensors", "--save-dtype", "float16", "--force")
    assert half.code == 0
    assert read_checkpoint(tmp_path / "a.safetensors").state_dict["conv_inp.bias"].dtype == torch.float16
    assert "ending in .safetensors" in Result("convert", tmp_path / "a.pt", tmp_path / "b.pt").err
