from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from music2latent import InputError
from music2latent.dataset.encoding import encode
from music2latent.dataset.engines.ray import Ray

from ...helpers import Result
from ..inline import SMALL, least, made, problems, sounds, tree

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # Ray's own
    pytest.mark.skipif(not pytest.importorskip("ray"), reason="Ray is not installed"),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one processor each on this machine."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 200 << 20})
        ray.init(address=nodes.address, log_to_driver=False, logging_level=logging.ERROR)
        yield nodes
        ray.shutdown()
        nodes.shutdown()  # type: ignore[no-untyped-call]


def test_a_node_is_lost_in_the_middle(cluster: Any, tmp_path: Path) -> None:
    folder = sounds(tmp_path / "audio", [20_000 + number for number in range(12)])
    (folder / "bad.wav").write_text("bad")
    made([folder], tmp_path / "straight")
    second = cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
    lost: list[float] = []

    def lose_it(seconds: float) -> None:
        if seconds > 2 and not lost:
            cluster.remove_node(second, allow_graceful=False)
            lost.append(seconds)

    encode([folder], tmp_path / "set", least(), engine=Ray(), progress=lose_it, **SMALL)
    assert lost
    assert tree(tmp_path / "set") == tree(tmp_path / "straight")
    assert problems(tmp_path / "set", inputs=[str(folder)]) == []


def test_ray_reads_what_was_written(cluster: Any, tmp_path: Path) -> None:
    import ray

    folder = sounds(tmp_path / "audio", [5000, 6000])
    made([folder], tmp_path / "set", format="parquet")
    rows = ray.data.read_parquet(str(tmp_path / "set")).take_all()
    assert sorted(row["key"] for row in rows) == ["000", "001"]
    assert all(len(row["values"]) == row["shape"][0] * row["shape"][1] * row["shape"][2] for row in rows)


def test_without_ray_the_verb_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from music2latent import extras

    monkeypatch.setitem(extras.EXTRAS, "ray", ("no_such_package",))
    done = Result("dataset", "encode", tmp_path, "-o", tmp_path / "set", "--engine", "ray")
    assert (done.code, done.err) == (1, "error: no_such_package not installed; run: pip install 'music2latent[ray]'\n")


def test_no_cluster(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refuse(**_: Any) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(InputError, match="no Ray cluster at somewhere: nobody answers"):
        encode([sounds(tmp_path / "a", [3000])], tmp_path / "set", least(), engine=Ray("somewhere"))
