"""The run folder: one run at a time, of one configuration."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from music2latent import InputError
from music2latent.chunks import ChunkPlan
from music2latent.training.data import index_folder
from music2latent.training.folder import RUN_VERSION, Origin, RunFacts, locked, read_run, read_state, write_run
from music2latent.training.loop import make_accelerator
from music2latent.training.run import Run

from ..helpers import reference_checkpoint
from .small import CONFIG, RECIPE, train_small


def test_two_runs_on_one_folder(data: Path, tmp_path: Path) -> None:
    with locked(tmp_path / "run"), pytest.raises(InputError, match="another run is training there"):
        train_small(data, tmp_path / "run")


def test_another_configuration_is_refused(data: Path, tmp_path: Path) -> None:
    train_small(data, tmp_path / "run", max_minutes=0)
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(InputError, match=r"training.lr was 0.001, now 0.5; choose another --output"):
        train_small(data, tmp_path / "run", replace(CONFIG, recipe=replace(RECIPE, lr=0.5)))
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True) | {"version": RUN_VERSION + 1}
    torch.save(state, tmp_path / "run" / "last.pt")
    with pytest.raises(
        InputError, match=f"written by version {RUN_VERSION + 1} of the trainer, this one reads {RUN_VERSION}"
    ):
        train_small(data, tmp_path / "run")
    (tmp_path / "run" / "last.pt").write_bytes(before[:1000])
    with pytest.raises(InputError, match="damaged, or not a training checkpoint"):
        train_small(data, tmp_path / "run")


def _broken_states(state: dict[str, Any]) -> Iterator[bytes | object]:
    yield from (b"", b"PK\x03\x04", b"no checkpoint", b"\x80\x02.", [], {}, torch.zeros(3), {"gen_state_dict": {}})
    light = {key: {} if isinstance(value, dict) else value for key, value in state.items()}  # quick to write
    wrong: Any
    for key in state:
        yield {name: value for name, value in light.items() if name != key}
        for wrong in ("x", None, torch.zeros(2), [], math.nan):
            yield light | {key: wrong}
    yield from (light | {"iteration": -1}, light | {"num_seen": -1}, light | {"config": "[" * 5000})
    yield light | {"config": json.dumps(json.loads(state["config"]) | {"training": {"lr": -1}})}
    for key in ("model", "ema", "optimizer", "schedule"):
        yield state | {key: {"state": 1}}
    moments = state["optimizer"]["state"][0]
    yield state | {"optimizer": state["optimizer"] | {"state": {0: moments | {"exp_avg": torch.zeros(3)}}}}
    yield state | {"model": {name: weight[:1] for name, weight in state["model"].items()}}


def test_a_broken_checkpoint_is_refused_in_a_line_and_kept(data: Path, tmp_path: Path) -> None:
    train_small(data, tmp_path / "run", max_minutes=0)
    path = tmp_path / "run" / "last.pt"
    whole = path.read_bytes()
    run = Run(CONFIG, [index_folder(data, 1.0, tmp_path)], tmp_path / "run", make_accelerator(RECIPE))
    for number, broken in enumerate(_broken_states(read_state(path))):
        if isinstance(broken, bytes):
            path.write_bytes(broken)
        else:
            torch.save(broken, path)
        with pytest.raises(InputError) as refused:
            run.resume()
        assert "\n" not in str(refused.value), number
        assert str(path) in str(refused.value), number
    before = path.read_bytes()
    facts = (tmp_path / "run" / "run.json").read_bytes()
    with pytest.raises(InputError):
        train_small(data, tmp_path / "run")
    assert path.read_bytes() == before
    assert (tmp_path / "run" / "run.json").read_bytes() == facts
    path.write_bytes(whole)
    assert run.resume()


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b"\xff", b"[" * 5000, b"{}", b'{"version": 2}', b'{"name": "somebody else\'s"}'),
        b'{"version": 4, "data": [["a", 1]]}',
        *(
            b'{"version": 4, "origin": null, "data": %s}' % data
            for data in (b"[]", b"1", b'[["a"]]', b'[["a", "b"]]', b"[[1, 2]]", b'[["a", -1]]', b'[["a", NaN]]')
        ),
        *(
            b'{"version": 4, "data": [["a", 1]], "origin": {%s, "fingerprint": "f", "latents_of": [], '
            b'"latent_scale": 1, "latent_std": [], "chunk_plan": null}}' % origin
            for origin in (
                b'"model": "a", "license": "x"',
                b'"model": "a", "license": "x", "latent_mean": 1',
                b'"model": "\\ud800", "license": "x", "latent_mean": []',
                b'"model": 1, "license": "x", "latent_mean": []',
                b'"license": "x", "latent_mean": []',
            )
        ),
        b'{"version": 4, "data": [["a", 1]], "origin": 1}',
    ],
)
def test_a_foreign_run_json_is_refused_and_kept(data: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=r"run.json: missing, damaged, or not of a training run") as refused:
        train_small(data, tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert (tmp_path / "run" / "run.json").read_bytes() == content


def test_facts_of_a_run(tmp_path: Path) -> None:
    origin = Origin.of(replace(reference_checkpoint("tiny"), chunk_plan=ChunkPlan(8, 2), latents_of=("a",)))
    write_run(tmp_path, CONFIG, [(tmp_path / "a", 0.5)], origin)
    assert read_run(tmp_path) == RunFacts(((tmp_path / "a", 0.5),), origin)
