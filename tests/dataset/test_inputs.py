from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from music2latent import InputError
from music2latent.dataset.inputs import Input, find

from .inline import made, problems, sounds, values_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sounds(tmp_path / "audio", [3000, 4000])
    return sounds(tmp_path / "audio/deep/er", [5000]).parent.parent


def _tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def _names(*names: object) -> list[str]:
    return [one.name for one in find(map(str, names))]


def test_folders_globs_and_files(folder: Path) -> None:
    assert _names(folder) == ["000", "001", "deep/er/000"]
    assert _names(folder / "*.wav") == ["000", "001"]
    assert _names(folder / "**/000.wav") == ["000", "deep/er/000"]
    assert _names(folder / "001.wav", folder / "deep") == ["001", "er/000"]


def test_lines_keep_everything(folder: Path) -> None:
    for one in find([str(folder)]):
        assert Input.from_json(one.to_json()) == one
        assert one.size == Path(one.path).stat().st_size


def test_a_file_that_changes_has_another_state(folder: Path) -> None:
    before = {one.source: one.state for one in find([str(folder)])}
    sounds(folder, [3001])
    after = {one.source: one.state for one in find([str(folder)])}
    assert {source for source in before if before[source] != after[source]} == {f"{folder}/000.wav"}


def _manifest(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".csv":
        with path.open("w") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_manifests(folder: Path, suffix: str) -> None:
    rows = [{"path": f"{number:03d}.wav", "mood": f"mood {number}", "seconds": 0.1} for number in (1, 0)]
    rows += [{"path": str(folder / "deep/er/000.wav"), "mood": "", "seconds": 0.1}]
    rows += [{"path": "lost.wav", "mood": "", "seconds": 1}, {"path": "", "mood": "", "seconds": 1}]
    rows += [{"path": "../other.wav", "mood": "", "seconds": 1}]
    shutil.copy(folder / "000.wav", folder.parent / "other.wav")
    found = list(find([str(_manifest(folder / f"list{suffix}", rows))]))
    assert [one.name for one in found][:2] == ["001", "000"]
    assert found[0].metadata["mood"] == "mood 1"
    assert float(found[0].metadata["seconds"]) == 0.1
    assert found[2].name == f"{folder}/deep/er/000"[1:]
    assert [one.problem and one.problem.split("'")[0] for one in found[3:]] == [
        *("no such file", "a row without a path", "its name "),
    ]
    description = made([folder / f"list{suffix}"], folder / "set")
    assert (description["counts"]["items"], description["counts"]["failures"]) == (3, 3)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "file,mood\nx.wav,1\n", "row 1 has no column path; it has file, mood"),
        ("a.csv", "path,mood\nx.wav\n", "line 2 has not as many fields"),
        ("a.jsonl", '{"path": "x.wav"}\n{"path"\n', "line 2 is no JSON"),
        ("a.jsonl", "[1]\n", "line 1 is no object"),
        ("a.parquet", "no table", "not a Parquet file"),
        ("a.tar", "no tar" * 200, "not a tar of audio"),
        ("a.csv", "path\n", "nothing to encode"),
    ],
)
def test_unusable_lists(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        list(find([str(tmp_path / name)]))


def test_tars_give_audio_and_what_is_said_of_it(folder: Path, tmp_path: Path) -> None:
    audio = (folder / "000.wav").read_bytes()
    members = {"a.json": b'{"mood": "calm"}', "a.wav": audio, "a.txt": b"a song\n", "b.wav": audio[:-50], "c.cls": b"1"}
    tar = _tar(tmp_path / "shard.tar", members)
    first, second = find([str(tar)])
    assert (first.name, first.metadata) == ("shard/a", {"mood": "calm", "text": "a song"})
    assert (second.name, second.metadata) == ("shard/b", {})
    made([tar], tmp_path / "set")
    made([folder / "000.wav"], tmp_path / "direct")
    (found,), (expected,) = values_of(tmp_path / "set").values(), values_of(tmp_path / "direct").values()
    assert (found == expected).all()
    assert "truncated" in (tmp_path / "set/failures.jsonl").read_text()
    assert problems(tmp_path / "set", inputs=[str(tar)]) == []


def test_tables_of_hugging_face(folder: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = {"audio": [str(folder / "000.wav"), str(folder / "001.wav")], "label": ["a", "b"]}
    table = datasets.Dataset.from_dict(rows).cast_column("audio", datasets.Audio(decode=False))
    table = table.map(lambda row: {"audio": {"bytes": Path(row["audio"]["path"]).read_bytes(), "path": "x.wav"}})
    (tmp_path / "hf/data").mkdir(parents=True)
    table.to_parquet(str(tmp_path / "hf/data/train-00000.parquet"))
    made([tmp_path / "hf"], tmp_path / "set")
    made([folder / "000.wav", folder / "001.wav"], tmp_path / "direct")
    found, expected = values_of(tmp_path / "set").values(), values_of(tmp_path / "direct").values()
    assert all((a == b).all() for a, b in zip(found, expected, strict=True))
    assert [one.metadata for one in find([str(tmp_path / "hf")])] == [{"label": "a"}, {"label": "b"}]


def test_urls(folder: Path, tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(f"{folder}/", "memory://bucket/", recursive=True)
    try:
        assert _names("memory://bucket") == _names(folder)
        assert _names("memory://bucket/**/000.wav") == ["000", "deep/er/000"]
        made(["memory://bucket"], tmp_path / "set")
        made([folder], tmp_path / "direct")
        found, expected = values_of(tmp_path / "set"), values_of(tmp_path / "direct")
        assert [(a == b).all() for a, b in zip(found.values(), expected.values(), strict=True)] == [True] * 3
        with pytest.raises(InputError, match="no such file, folder or bucket"):
            _names("memory://elsewhere")
    finally:
        memory.rm("memory://bucket", recursive=True)


def test_an_input_named_twice_counts_once(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert made([folder, folder / "000.wav"], tmp_path / "set")["counts"]["inputs"] == 3
    assert "inputs: 3 new, 1 named twice" in caplog.text
    made([folder / "deep"], tmp_path / "set")
    assert "inputs: 1 known, 2 not found again" in caplog.text
