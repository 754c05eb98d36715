"""info and convert."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from music2latent.chunks import ChunkPlan
from music2latent.pretrained import read_checkpoint

from ..helpers import Result, audio_file, posix, reference_checkpoint


def test_info(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav", 2)
    assert Result("encode", song, "-m", model).code == 0
    done = Result("info", "--json", song, tmp_path / "a.m2l", model, "mini")
    assert done.code == 0, done.err
    audio, latents, tiny, mini = map(json.loads, done.out.splitlines())
    assert (audio["sample_rate"], audio["channels"], audio["num_samples"]) == (44100, 2, 9000)
    assert (latents["shape"], latents["model_id"]) == ([2, 64, 3], "tiny")
    assert latents["fingerprint"] == tiny["fingerprint"]
    assert (mini["num_parameters"], mini["frame_rate"]) == (9496515, 10.767)
    plain = Result("info", song, "missing.wav")
    assert "sample_rate    44100" in plain.out
    assert "missing.wav: no such file" in plain.err
    assert plain.code == 1


def test_info_without_names_is_about_the_default_model(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setenv("MUSIC2LATENT_MODEL", model)
    done = Result("info")
    assert done.code == 0, done.err
    assert done.out.startswith(
        f"model          {model}\ndefault_model  {model} (environment variable MUSIC2LATENT_MODEL)\n"
    )
    monkeypatch.setenv("MUSIC2LATENT_MODEL", "maxi")
    check_one_line(Result("info"), "unknown model 'maxi'", "named by environment variable MUSIC2LATENT_MODEL")


def check_one_line(done: Result, *parts: str) -> None:
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    assert all(part in done.err for part in ("error: ", *parts))


HOSTILE: list[tuple[str, bytes]] = [
    ("a.py", b"import os\nos.system('true')\n"),
    ("a.txt", b""),
    ("a", b"\0" * 9),
    ("a.pt", b"PK\3\4" + b"\0" * 100),
    ("b.pt", b"\x80\2csystem\nos\n."),
    ("c.pt", b"12345678{"),
    ("a.safetensors", b"\xff" * 8 + b"{}"),
    ("a.SAFETENSORS", b"\0"),
    ("a.m2l", b"M2L"),
    ("b.m2l", b""),
    ("a.wav", b"RIFF\xff\xff\xff\xffWAVE"),
    ("a.flac", b"fLaC"),
    ("a.mp3", b"\xff\xfb"),
    ("a.json", b'{"model": "mini"}'),
]


@pytest.mark.parametrize(("name", "content"), HOSTILE)
def test_info_on_what_is_nothing_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    check_one_line(Result("info", tmp_path / name), name)


@posix
@pytest.mark.parametrize("suffix", ["", ".wav", ".m2l", ".pt", ".safetensors"])
@pytest.mark.parametrize("kind", ["missing", "folder", "link to nowhere", "link to itself", "name too long"])
def test_info_on_what_is_no_file_is_one_line(tmp_path: Path, suffix: str, kind: str) -> None:
    path = tmp_path / f"a{suffix}"
    match kind:
        case "folder":
            path.mkdir()
        case "link to nowhere":
            path.symlink_to("nowhere")
        case "link to itself":
            path.symlink_to(path.name)
        case "name too long":
            path = path.with_name("a" * 300 + suffix)
    check_one_line(Result("info", path))


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
