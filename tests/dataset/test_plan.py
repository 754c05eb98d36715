from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings

from music2latent.dataset.inputs import Input
from music2latent.dataset.plan import MOST_INPUTS, Plan, read_plan, seconds_of
from music2latent.dataset.storage import Storage


def _input(number: int, size: int = 1) -> Input:
    return Input(source=f"/{number}.wav", name=f"{number}", suffix=".wav", path=f"/{number}.wav", size=size)


def _plan(folder: Path, inputs: list[Input], seconds: float = 3.0) -> tuple[list[int], dict[str, int]]:
    plan = Plan(Storage(folder), key=lambda one: one.name, shard_seconds=seconds)
    try:
        return list(plan.shards(inputs)), dict(plan.counts)
    finally:
        plan.close()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(runs=st.lists(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 2)), max_size=12), min_size=1, max_size=4))
def test_every_input_is_in_one_shard_as_it_was_last_found(
    tmp_path_factory: object, runs: list[list[tuple[int, int]]]
) -> None:
    folder = tmp_path_factory.mktemp("plan")  # type: ignore[attr-defined]
    expected: dict[str, int] = {}
    planned: set[int] = set()
    for run in runs:
        found, seen = [], set()
        for number, size in run:
            found.append(_input(number, size * 176_400))
            if number not in seen:
                expected[f"/{number}.wav"] = size * 176_400
            seen.add(number)
        before = len(planned)
        shards, _ = _plan(folder, found)
        planned |= set(shards)
        assert planned == set(range(len(planned)))
        assert before <= len(planned)
        plans = [read_plan(Storage(folder), shard)[0] for shard in sorted(planned)]
        entries = [one for plan in plans for one in plan]
        assert len({one.source for one in entries}) == len(entries)
        assert {one.source: one.size for one in entries} == expected


def test_what_is_new_begins_new_shards(tmp_path: Path) -> None:
    first = [_input(number, 176_400) for number in range(10)]
    assert _plan(tmp_path, first)[0] == [0, 1, 2, 3]
    before = [read_plan(Storage(tmp_path), shard) for shard in range(4)]
    assert _plan(tmp_path, [_input(-1), *first, _input(11)]) == (
        [0, 1, 2, 3, 4],
        {"known": 10, "new": 2, "gone": 0},
    )
    assert [read_plan(Storage(tmp_path), shard) for shard in range(4)] == before


def test_shards_of_many_short_inputs_end(tmp_path: Path) -> None:
    shards, _ = _plan(tmp_path, [_input(number) for number in range(MOST_INPUTS + 1)], seconds=1e9)
    assert [len(read_plan(Storage(tmp_path), shard)[0]) for shard in shards] == [MOST_INPUTS, 1]


def test_durations_are_guessed_from_sizes() -> None:
    wav = _input(0, 176_400)
    assert seconds_of(wav) == 1
    assert seconds_of(replace(wav, suffix=".mp3")) > 5
    assert seconds_of(replace(wav, seconds=3.5)) == 3.5
