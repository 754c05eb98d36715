"""The official package's .pt files: read without running their code."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from music2latent import InputError
from music2latent.checkpoint import write_safetensors
from music2latent.config import PRESETS
from music2latent.official import infer_config
from music2latent.pretrained import load_checkpoint, read_checkpoint

from .helpers import pt_file, reference_checkpoint, reference_keys, tiny_weights


def test_official_file(tmp_path: Path) -> None:
    read = read_checkpoint(pt_file(tmp_path / "a.pt"))
    assert read.config == replace(PRESETS["tiny"], heads=4)  # heads cannot be seen in the shapes
    assert (read.model_id, read.latent_scale, read.chunk_plan) == ("a", 0.06, None)
    assert all(torch.equal(read.state_dict[key], value) for key, value in tiny_weights().items())


def test_training_branch_file_gives_the_averaged_weights(tmp_path: Path) -> None:
    averaged = [weight + 1 for weight in tiny_weights().values()]
    path = pt_file(
        tmp_path / "a.pt",
        ema_state_dict={"shadow_params": averaged, "num_updates": 3, "decay": 0.9999, "collected_params": None},
        optimizer_state_dict={"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4}]},
        fid=np.float64(1.5),
        loss=np.float32(0.1),
        it=np.int64(7),
    )
    read = read_checkpoint(path)
    for key, weight in tiny_weights().items():
        assert torch.equal(read.state_dict[key], weight + 1), key


def test_averaged_weights_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ema_state_dict holds 1 weights, the model has"):
        read_checkpoint(pt_file(tmp_path / "a.pt", ema_state_dict={"shadow_params": [torch.zeros(1)]}))


def test_configuration_in_the_file_wins(tmp_path: Path) -> None:
    config = {"hop": 512, "bottleneck_channels": 64, "data_channels": 2, **PRESETS["tiny"].to_dict()}
    assert read_checkpoint(pt_file(tmp_path / "a.pt", config=config)).config == PRESETS["tiny"]


@pytest.mark.parametrize("name", ["official", "tiny", "mixed"])
def test_configuration_from_shapes(name: str) -> None:
    shapes = {key: torch.empty(shape, device="meta") for key, shape in reference_keys(name)}
    assert infer_config(shapes) == replace(reference_checkpoint(name).config, heads=4)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (10**4,) * 4])
def test_no_configuration_from_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        infer_config({key: torch.empty(shape, device="meta") for key, _ in reference_keys("tiny")})


class Malicious:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch EXECUTED",)


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pt_file(tmp_path / "a.pt", fid=Malicious())
    with pytest.raises(InputError, match=r"other than weights and numbers, not loaded .*system"):
        read_checkpoint(tmp_path / "a.pt")
    torch.save(
        {"gen_state_dict": tiny_weights(), "x": Path("x")}, tmp_path / "b.pt", _use_new_zipfile_serialization=False
    )
    with pytest.raises(InputError, match=r"a pickle, or a file of PyTorch before 1\.6"):
        read_checkpoint(tmp_path / "b.pt")
    assert not (tmp_path / "EXECUTED").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a model file; accepted: .safetensors files of this package, .pt files of the official package"),
        (b"import os\n", "not a model file"),
        (b"\x80\x04N.", "a pickle, or a file of PyTorch before 1.6"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer, not the file; run git lfs pull"),
        (b"PK\x03\x04", "truncated or damaged"),
    ],
)
def test_what_is_no_model_file(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "script.py"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"script.py: {message}") as found:
        read_checkpoint(path)
    assert "weights_only" not in str(found.value)


def test_a_training_runs_checkpoint_names_the_verb_that_makes_a_model_of_it(tmp_path: Path) -> None:
    model = reference_checkpoint("tiny").build()
    average, optimizer = torch.optim.swa_utils.AveragedModel(model), torch.optim.RAdam(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    state: dict[str, Any] = {"ema": average, "optimizer": optimizer, "schedule": schedule}
    torch.save({key: part.state_dict() for key, part in state.items()} | {"iteration": 1}, tmp_path / "last.pt")
    with pytest.raises(InputError, match=f"music2latent export-weights {tmp_path} makes a model file of it"):
        read_checkpoint(tmp_path / "last.pt")


NOTHING: list[Any] = []
BILLIONS = reduce(lambda inner, _: [inner] * 99, range(99), NOTHING)
"""A hundred small lists, and endless when printed."""


@pytest.mark.parametrize(
    "content",
    [
        [],
        {"gen_state_dict": []},
        {"gen_state_dict": {"a": 1}},
        {"gen_state_dict": {1: torch.zeros(1)}},
        {"gen_state_dict": tiny_weights() | {"\x1b[31m\nx": torch.zeros(1)}},
        {"gen_state_dict": {key: weight.flatten()[0] for key, weight in tiny_weights().items()}},
        {"gen_state_dict": {key: torch.zeros(1, 10**5, 1, 1) for key in tiny_weights()}},
        {"gen_state_dict": {key: weight.to(torch.int8) for key, weight in tiny_weights().items()}},
        {"config": 1},
        {"config": {"hop": []}},
        {"config": {"layers_list": BILLIONS}},
        {"ema_state_dict": 1},
        {"ema_state_dict": {"shadow_params": 3}},
        {"ema_state_dict": {"shadow_params": [1.0] * 415}},
        {"ema_state_dict": {"shadow_params": [torch.zeros(1)] * 415}},
        {"latent_scale": "1"},
        {"latent_mean": 3},
        {"latent_mean": [torch.zeros(1)] * 64},
        {"latent_std": ["a"] * 64},
    ],
)
def test_layouts_that_are_none(tmp_path: Path, content: Any) -> None:
    whole = {"gen_state_dict": tiny_weights()} | content if isinstance(content, dict) else content
    torch.save(whole, tmp_path / "a.pt")
    with pytest.raises(InputError) as found:
        read_checkpoint(tmp_path / "a.pt")
    message = str(found.value).removeprefix(f"{tmp_path}/")
    assert message.startswith("a.pt: ")
    assert message.isprintable()
    assert len(message) < 700


def test_refused_pt_files(tmp_path: Path) -> None:
    path = pt_file(tmp_path / "a.pt")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="truncated or damaged, or not a model file"):
        read_checkpoint(path)
    torch.save({"model": {"a": torch.zeros(1)}}, path)
    with pytest.raises(InputError, match="expected a dict with 'gen_state_dict', found: model"):
        read_checkpoint(path)
    torch.save({"gen_state_dict": {"a": torch.zeros(1)}}, path)
    with pytest.raises(InputError, match=r"not the weights of a Music2Latent model, 'conv_inp.weight' is missing"):
        read_checkpoint(path)


def test_converted_file_is_the_same_model(tmp_path: Path) -> None:
    original = read_checkpoint(pt_file(tmp_path / "a.pt"))
    write_safetensors(tmp_path / "a.safetensors", original)
    assert load_checkpoint(tmp_path / "a.safetensors").fingerprint() == original.fingerprint()


def test_a_official_file_is_known_by_its_architecture(tmp_path: Path) -> None:
    torch.save({"gen_state_dict": tiny_weights("official")}, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt").license == "CC BY-NC 4.0"
    assert read_checkpoint(pt_file(tmp_path / "b.pt")).license == "unknown"
