"""What others' loaders make of data sets: stable-audio-tools, datasets, pandas and webdataset."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from music2latent import EncoderDecoder
from music2latent.audio import open_audio, read_whole
from music2latent.dataset import LatentDataset
from music2latent.dataset.collection import Collection
from music2latent.dataset.encoding import encode

from ..helpers import audio_file, least_checkpoint, relative_error
from .conftest import encode_here

pytestmark = pytest.mark.filterwarnings("ignore")  # the packages' own
Build = Callable[..., Path]
FRAME = 8


@pytest.fixture
def _stable_audio_tools() -> Iterator[None]:
    """Without its imports that need CUDA or torchvision; nothing here calls them."""
    pytest.importorskip("stable_audio_tools")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("torchaudio", "torchaudio.transforms", "k_diffusion"):
            patch.setitem(sys.modules, name, MagicMock())
        yield


@pytest.mark.usefixtures("_stable_audio_tools")
def test_stable_audio_tools(least: EncoderDecoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from stable_audio_tools.data.dataset import LocalDatasetConfig, PreEncodedDataset, collation_fn

    from music2latent.integrations.stable_audio_tools import Music2LatentPretransform

    paths = [audio_file(tmp_path / "in" / f"{frames}.flac", 2, frames * FRAME) for frames in (40, 50)]
    options = {"format": "stable-audio-tools", "crop_seconds": 16 * FRAME / 44100}
    encode([tmp_path / "in"], tmp_path / "set", least, engine=encode_here, **options)  # type: ignore[arg-type]

    theirs = PreEncodedDataset([LocalDatasetConfig(id="ours", path=str(tmp_path / "set"))], latent_crop_length=16)
    assert len(theirs) == 3 + 4
    ((latents, facts),) = DataLoader(theirs, batch_size=7, collate_fn=collation_fn)
    assert "Couldn't load" not in capsys.readouterr().out
    assert latents.shape == (7, 2 * least.latent_dim, 16)

    ours = Music2LatentPretransform(least_checkpoint())
    data = {example.key: example for example in LatentDataset(tmp_path / "set", length=16)}
    for path, padding in zip(paths, (8, 14), strict=True):
        audio = torch.from_numpy(read_whole(open_audio(path), 44100))[None]
        with torch.no_grad():
            expected = ours.encode(audio)
        own = sorted((fact["key"], number) for number, fact in enumerate(facts) if fact["path"] == str(path))
        masks = torch.cat([facts[number]["padding_mask"][0] for _, number in own])
        assert masks.sum() == len(masks) - padding == expected.shape[-1]
        joined = torch.cat([latents[number] for _, number in own], -1)[:, masks.bool()]
        assert relative_error(joined, expected[0]) < 1e-3
        for number, (key, place) in enumerate(own):
            with torch.no_grad():
                decoded = ours.decode(latents[place : place + 1].float())[0]
            kept = int(facts[place]["padding_mask"][0].sum()) * FRAME
            sound = data[key].decode(least)
            assert sound.shape == (2, kept)
            assert facts[place]["seconds_start"] == data[key].seconds_start == number * 16 * FRAME / 44100
            if kept == 16 * FRAME:  # else they also decode padding, which group normalisation sees
                assert relative_error(sound, decoded) < 1e-3


def _check(row: dict[str, object], collection: Collection) -> None:
    item = collection.read(int(str(row["key"])[-1]))
    assert row["key"] == item.key
    values = np.asarray(row["values"], np.float16).reshape(np.asarray(row["shape"], int))
    assert np.array_equal(values, item.values)
    assert json.loads(str(row["metadata"])) == item.facts["metadata"]
    for name in ("source", "duration", "sample_rate", "num_samples", "fingerprint"):
        assert row[name] == item.facts[name]


def test_pandas_and_datasets_read_parquet(build: Build, tmp_path: Path) -> None:
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    path = build("parquet")
    collection = Collection(path)
    table = pandas.concat(map(pandas.read_parquet, sorted(path.glob("*.parquet"))))
    rows = datasets.load_dataset(
        "parquet", data_files=str(path / "latents-*.parquet"), split="train", cache_dir=str(tmp_path)
    )
    assert len(table) == len(rows) == 7
    for row in [*table.to_dict("records"), *rows]:
        _check(row, collection)


def test_webdataset_reads_tars(build: Build) -> None:
    webdataset = pytest.importorskip("webdataset")
    path = build("webdataset")
    collection = Collection(path)
    tars = sorted(map(str, path.glob("latents-*.tar")))
    rows = list(webdataset.WebDataset(tars, shardshuffle=False).decode())
    assert len(rows) == 7
    for row in rows:
        assert row["__key__"] == row["json"]["key"]
        facts = row["json"] | {"values": row["npy"], "shape": row["npy"].shape}
        _check(facts | {"metadata": json.dumps(facts["metadata"])}, collection)
