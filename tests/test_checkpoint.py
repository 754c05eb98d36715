from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from music2latent import EncoderDecoder, InputError, checkpoint, load_model
from music2latent.checkpoint import Checkpoint, load_checkpoint, read_checkpoint, write_safetensors
from music2latent.config import PRESETS
from music2latent.official import infer_config

from .helpers import reference_checkpoint, reference_keys
from .hub import hub
from .test_audio import disk_with


def _weights(name: str = "tiny") -> dict[str, torch.Tensor]:
    return dict(reference_checkpoint(name).state_dict)


def _pt(path: Path, **content: Any) -> Path:
    torch.save({"gen_state_dict": _weights()} | content, path)
    return path


# --------------------------------------------------------------------------- our own files


def test_bundled() -> None:
    bundled = load_checkpoint("mini")
    assert bundled.config == PRESETS["mini"]
    assert bundled.license == "MIT"
    assert bundled.provenance
    assert len(bundled.latent_mean) == len(bundled.latent_std) == 64
    spread = np.hypot(bundled.latent_mean, bundled.latent_std)
    assert np.sqrt((spread**2).mean()) / bundled.latent_scale == pytest.approx(1, abs=0.05)
    assert load_model().dtype == torch.float32


def test_round_trip(tmp_path: Path) -> None:
    saved = replace(reference_checkpoint("tiny"), provenance="p", license="l", window=(8, 2), latent_mean=(0.5,) * 64)
    write_safetensors(tmp_path / "a.safetensors", saved)
    read = read_checkpoint(tmp_path / "a.safetensors")
    for field in ("config", "model_id", "latent_scale", "latent_mean", "latent_std", "window", "provenance", "license"):
        assert getattr(read, field) == getattr(saved, field)
    assert all(torch.equal(read.state_dict[key], value) for key, value in saved.state_dict.items())
    assert read.fingerprint() == saved.fingerprint()
    write_safetensors(tmp_path / "half.safetensors", saved, half=True)
    size = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert size["half.safetensors"] < 0.55 * size["a.safetensors"]


def test_fingerprint_depends_on_weights_and_configuration_alone() -> None:
    one = reference_checkpoint("tiny")
    assert replace(one, model_id="other", license="x").fingerprint() == one.fingerprint()
    assert replace(one, config=replace(one.config, sigma_max=79.0)).fingerprint() != one.fingerprint()
    changed = _weights()
    changed["conv_out.bias"] = changed["conv_out.bias"] + 1e-6
    assert replace(one, state_dict=changed).fingerprint() != one.fingerprint()


@pytest.mark.parametrize("kind", ["missing", "unexpected", "of another shape"])
def test_weights_that_do_not_fit_are_named(kind: str) -> None:
    weights, key = _weights(), "encoder.conv_inp.weight"
    if kind == "missing":
        del weights[key]
    elif kind == "unexpected":
        key = "encoder.extra.weight"
        weights[key] = torch.zeros(1)
    else:
        weights[key] = torch.zeros(8, 1, 3, 3)
        key = r"encoder.conv_inp.weight \[8, 1, 3, 3\] instead of \[8, 2, 3, 3\]"
    with pytest.raises(InputError, match=f"{kind}: {key}"):
        replace(reference_checkpoint("tiny"), state_dict=weights)


def test_refused_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="not a model of this package"):
        read_checkpoint(path)
    save_file({"x": torch.zeros(1)}, path, {"format": checkpoint.FORMAT, "format_version": "2"})
    with pytest.raises(InputError, match="version 2, this package reads 1"):
        read_checkpoint(path)
    save_file({"x": torch.zeros(1)}, path, {"format": checkpoint.FORMAT, "format_version": "1"})
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(path)
    write_safetensors(path, reference_checkpoint("tiny"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(path)


def test_full_disk(tmp_path: Path) -> None:
    with disk_with(1000), pytest.raises(InputError, match="nothing was left there"):
        write_safetensors(tmp_path / "a.safetensors", reference_checkpoint("tiny"))
    assert not os.listdir(tmp_path)


# --------------------------------------------------------------------------- published .pt files


def test_published_file(tmp_path: Path) -> None:
    read = read_checkpoint(_pt(tmp_path / "a.pt"))
    assert read.config == replace(PRESETS["tiny"], heads=4)  # heads cannot be seen in the shapes
    assert (read.model_id, read.latent_scale, read.window) == ("a", 0.06, None)
    assert all(torch.equal(read.state_dict[key], value) for key, value in _weights().items())


def test_training_branch_file_gives_the_averaged_weights(tmp_path: Path) -> None:
    averaged = [weight + 1 for weight in _weights().values()]
    path = _pt(
        tmp_path / "a.pt",
        ema_state_dict={"shadow_params": averaged, "num_updates": 3, "decay": 0.9999, "collected_params": None},
        optimizer_state_dict={"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]},
        fid=np.float64(1.5),
        loss=np.float32(0.1),
        it=np.int64(7),
    )
    read = read_checkpoint(path)
    for key, weight in _weights().items():
        assert torch.equal(read.state_dict[key], weight + 1), key


def test_averaged_weights_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ema_state_dict holds 1 weights, the model has"):
        read_checkpoint(_pt(tmp_path / "a.pt", ema_state_dict={"shadow_params": [torch.zeros(1)]}))


def test_configuration_in_the_file_wins(tmp_path: Path) -> None:
    config = {"hop": 512, "bottleneck_channels": 64, "data_channels": 2, **PRESETS["tiny"].to_dict()}
    assert read_checkpoint(_pt(tmp_path / "a.pt", config=config)).config == PRESETS["tiny"]


@pytest.mark.parametrize("name", ["official", "tiny", "mixed"])
def test_configuration_from_shapes(name: str) -> None:
    shapes = {key: torch.empty(shape, device="meta") for key, shape in reference_keys(name)}
    assert infer_config(shapes) == replace(reference_checkpoint(name).config, heads=4)


class Malicious:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch EXECUTED",)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _pt(tmp_path / "a.pt", fid=Malicious())
    with pytest.raises(InputError, match=r"other than weights and numbers, not loaded .*system"):
        read_checkpoint(tmp_path / "a.pt")
    torch.save({"gen_state_dict": _weights(), "x": Path("x")}, tmp_path / "b.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="other than weights and numbers"):
        read_checkpoint(tmp_path / "b.pt")
    assert not (tmp_path / "EXECUTED").exists()


def test_refused_pt_files(tmp_path: Path) -> None:
    path = _pt(tmp_path / "a.pt")
    content = path.read_bytes()
    for broken in (content[: len(content) // 2], b"not a checkpoint at all", b""):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="truncated, or not a PyTorch checkpoint|other than weights"):
            read_checkpoint(path)
    torch.save({"model": {"a": torch.zeros(1)}}, path)
    with pytest.raises(InputError, match="expected a dict with 'gen_state_dict', found: model"):
        read_checkpoint(path)
    torch.save({"gen_state_dict": {"a": torch.zeros(1)}}, path)
    with pytest.raises(InputError, match=r"not the weights of a Music2Latent model, 'conv_inp.weight' is missing"):
        read_checkpoint(path)


def test_converted_file_is_the_same_model(tmp_path: Path) -> None:
    official = read_checkpoint(_pt(tmp_path / "a.pt"))
    write_safetensors(tmp_path / "a.safetensors", official)
    assert load_checkpoint(tmp_path / "a.safetensors").fingerprint() == official.fingerprint()


def test_licence_of_the_published_weights_is_said_once(tmp_path: Path) -> None:
    checkpoint._say_license.cache_clear()
    write_safetensors(tmp_path / "a.safetensors", replace(reference_checkpoint("tiny"), license="CC BY-NC 4.0"))
    with pytest.warns(UserWarning, match="licensed CC BY-NC 4.0: not for commercial use"):
        load_checkpoint(tmp_path / "a.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_checkpoint(tmp_path / "a.safetensors")


def test_a_published_file_is_known_by_its_architecture(tmp_path: Path) -> None:
    torch.save({"gen_state_dict": _weights("official")}, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt").license == "CC BY-NC 4.0"
    assert read_checkpoint(_pt(tmp_path / "b.pt")).license == "unknown"


# --------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["maxi", "missing.pt", "./missing.safetensors", "a/missing.pt", "a/b/c"])
def test_unknown_name_says_which_are_known(name: str) -> None:
    with pytest.raises(InputError, match=r"unknown model .*mini \(bundled\), a path .*, a Hugging Face repository id"):
        load_checkpoint(name)


def test_save_pretrained_and_back(tmp_path: Path, tiny: EncoderDecoder) -> None:
    tiny.save_pretrained(tmp_path / "model")
    assert sorted(os.listdir(tmp_path / "model")) == ["README.md", "config.json", "model.safetensors"]
    assert json.loads((tmp_path / "model" / "config.json").read_text()) == tiny.config.to_dict()
    back = EncoderDecoder.from_pretrained(tmp_path / "model", device="cpu", dtype="float32")
    assert back.fingerprint == tiny.fingerprint
    with pytest.raises(InputError, match=r"a folder without model\.safetensors"):
        load_checkpoint(tmp_path)


def test_trained_weights_are_what_is_saved(tmp_path: Path) -> None:
    codec = EncoderDecoder(model=reference_checkpoint("tiny"), dtype="float32", device="cpu")
    with torch.no_grad():
        codec.gen.conv_out.bias.copy_(torch.tensor([1.5, -1.5]))
    codec.save_pretrained(tmp_path)
    assert load_model(tmp_path).conv_out.bias.tolist() == [1.5, -1.5]
    assert reference_checkpoint("tiny").state_dict["conv_out.bias"].tolist() != [1.5, -1.5]  # that one is nobody's
    with pytest.raises(InputError, match="rounded to torch.bfloat16 are not saved; .* dtype='float32'"):
        codec.to(torch.bfloat16).save_pretrained(tmp_path)


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter: the hub's settings are read when its client is imported."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | environment
    root = Path(__file__).parent.parent
    return subprocess.run([sys.executable, "-c", code], cwd=root, env=variables, capture_output=True, text=True)


def test_hub_upload_download_cache_and_offline(tmp_path: Path) -> None:
    code = """
from tests.helpers import reference_codec
from music2latent import EncoderDecoder
codec = reference_codec("tiny")
print(codec.push_to_hub("me/piano", token="hf_x", private=True))
for revision in (None, "v1"):
    assert EncoderDecoder.from_pretrained("me/piano", revision=revision).fingerprint == codec.fingerprint
assert EncoderDecoder(model="me/published", dtype="float32").fingerprint == codec.fingerprint
"""
    again = "from music2latent import load_model; load_model('me/piano')"
    with hub() as server:
        settings = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
        # any repository may hold the published layout; with the file's own configuration it is the same model
        _pt(tmp_path / "p.pt", config=PRESETS["tiny"].to_dict())
        server.files["me/published"] = {"music2latent.pt": (tmp_path / "p.pt").read_bytes()}
        done = _python(code, **settings)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{server.url}/me/piano/commit/{'1' * 40}\n"
        assert sorted(server.files["me/piano"]) == ["README.md", "config.json", "model.safetensors"]
        downloads = [request for request in server.requests if request.startswith("GET /me/piano")]
        assert len(downloads) == 1  # the second revision is the same commit
    assert (tmp_path / "home" / "hub" / "models--me--piano").is_dir()
    unreachable = settings | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    done = _python(again, **unreachable)
    assert done.returncode == 0, done.stderr
    refused = _python(again.replace("me/piano", "SonyCSLParis/music2latent"), **unreachable, HF_HUB_OFFLINE="1")
    assert "without a network these work: mini, or a path to a file" in refused.stderr


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("me/nothing", None, "the hub has no repository 'me/nothing', or it is private"),
        ("me/empty", "v9", "repository 'me/empty' has no revision 'v9'"),
        ("me/empty", None, r"holds neither model\.safetensors nor music2latent\.pt"),
    ],
)
def test_hub_refusals(tmp_path: Path, name: str, revision: str | None, message: str) -> None:
    with hub() as server, pytest.raises(InputError, match=message):
        server.files["me/empty"] = {}
        load_checkpoint(name, revision=revision, endpoint=server.url, cache_dir=tmp_path)


def test_published_repository(tmp_path: Path) -> None:
    """The published repository's own name, from a hub that holds a file of the published layout and shape."""
    checkpoint._say_license.cache_clear()
    torch.save({"gen_state_dict": _weights("official")}, tmp_path / "p.pt")
    with hub() as server, pytest.warns(UserWarning, match="SonyCSLParis/music2latent are licensed CC BY-NC 4.0"):
        server.files[checkpoint.PUBLISHED_REPO] = {"music2latent.pt": (tmp_path / "p.pt").read_bytes()}
        read = load_checkpoint(checkpoint.PUBLISHED_REPO, endpoint=server.url, cache_dir=tmp_path)
    assert read.fingerprint() == reference_checkpoint("official").fingerprint()
    assert isinstance(read, Checkpoint)
