"""ONNX files: whole in themselves, with all facts; and the example that uses them without the package."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import soundfile

from music2latent import EncoderDecoder
from music2latent.export.facts import facts_of
from music2latent.export.model import export_model
from music2latent.export.onnx import OPSETS

from ..helpers import CLIP, ROOT, least_checkpoint, relative_error, sound


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("onnx_runtime")


@pytest.mark.parametrize("opset", OPSETS)
def test_opsets(opset: int, tmp_path: Path) -> None:
    export_model(least_checkpoint(), "onnx", tmp_path, opset=opset)
    assert onnx.load(tmp_path / "decoder.onnx").opset_import[0].version == opset


def test_files_are_whole_and_say_what_they_are(exported: Path, mini: EncoderDecoder) -> None:
    for name, inputs in {"encoder": ["audio"], "decoder": ["latents", "noise", "weights"]}.items():
        file = onnx.load(exported / f"{name}.onnx", load_external_data=False)
        assert {one.key: one.value for one in file.metadata_props} == facts_of(mini.checkpoint, "float32")
        assert [one.name for one in file.graph.input] == inputs
        assert not any(one.external_data for one in file.graph.initializer)
        assert str(ROOT).encode() not in (exported / f"{name}.onnx").read_bytes()


@pytest.mark.parametrize("samples", [1, 1000, 1600, 4096 * 3 - 1536, 4096 * 70])
def test_the_example_equals_the_package(example: Any, exported: Path, mini: EncoderDecoder, samples: int) -> None:
    codec, audio = example.Codec(exported), sound(2 if samples < 10000 else 1, samples)
    expected = mini.compress(audio, mini.sample_rate)
    latents = codec.encode(audio)
    assert relative_error(latents, expected.values) < 1e-3
    decoded = codec.decode(np.asarray(expected.values), samples, seed=3)
    assert relative_error(decoded, mini.decompress(expected, seed=3)) < 1e-4


def test_the_example_needs_neither_torch_nor_this_package(example: Any, exported: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", soundfile.read(CLIP, stop=44100)[0], 44100)
    code = (
        "import sys; sys.modules |= dict.fromkeys(['torch', 'music2latent', 'scipy']);"
        f"sys.path.insert(0, {str(ROOT / 'examples')!r}); import onnx_runtime; onnx_runtime.main(*sys.argv[1:])"
    )
    arguments = [str(exported), *(str(tmp_path / name) for name in ("in.wav", "latents.npy", "out.wav"))]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    assert soundfile.info(tmp_path / "out.wav").frames == 44100
    assert np.load(tmp_path / "latents.npy").shape == (soundfile.info(CLIP).channels, 64, 12)
    soundfile.write(tmp_path / "in.wav", np.zeros(100), 22050)
    with pytest.raises(SystemExit, match="resample"):
        example.main(*arguments)
