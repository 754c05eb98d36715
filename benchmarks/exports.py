"""Exported models beside PyTorch: sizes, speed, how far they are from the package, and what weights in fewer bits cost.

    pip install 'music2latent[export,evaluate]'
    pip install --no-deps nn-tilde cached-conv
    python benchmarks/exports.py [FOLDER OF AUDIO ...]

Every format of the bundled model and of one of the official shape with random weights; then the figures of `evaluate`
for the example's clip and the first file of every folder. Writes exports.md.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import torch
from bench import official_checkpoint
from machine import processor
from torch import Tensor, nn

from music2latent import EncoderDecoder, spectrogram
from music2latent.audio import FORMATS as AUDIO
from music2latent.audio import open_audio, read_whole
from music2latent.checkpoint import Checkpoint
from music2latent.evaluation.metrics import METRICS, measure
from music2latent.evaluation.sound import Sound
from music2latent.export.fourier import Fourier
from music2latent.export.model import FORMATS, NN_TILDE, export_model
from music2latent.export.parity import example
from music2latent.files import walk
from music2latent.pretrained import read_checkpoint

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "examples"))
from onnx_runtime import Codec  # noqa: E402

ROUNDS = 3
SECONDS = 6


def seconds(run: Callable[[], object]) -> float:
    """The processor's, the median after one call that does not count."""
    taken = []
    for _ in range(ROUNDS + 1):
        begun = time.process_time()
        run()
        taken.append(time.process_time() - begun)
    return statistics.median(taken[1:])


def size(path: Path) -> float:
    """In MB."""
    return sum(one.stat().st_size for one in ([path] if path.is_file() else path.iterdir())) / 1e6


@torch.no_grad()
def table(title: str, checkpoint: Checkpoint, chunk: int, kinds: list[tuple[str, str]], folder: Path) -> Iterator[str]:
    """Sizes, milliseconds for a chunk, and the errors that the export found."""
    yield from ("", f"## {title}, one chunk of {chunk} latents", "")
    yield "| | MB | encode (ms) | decode (ms) | error at 1, 3 x 4, 19 latents: encode | decode |"
    yield "|---|---:|---:|---:|---|---|"
    codec = EncoderDecoder(model=checkpoint, device="cpu", dtype="float32")
    audio, latents, noise, weights = example(codec.config, 1, chunk)
    scale, hop = codec.latent_scale, codec.config.hop_length

    def decode() -> Tensor:
        segments = spectrogram.synthesise(codec.gen.decode(latents * scale, lambda _: noise))
        return spectrogram.overlap_add(segments * weights[:, :, None])

    encoding = seconds(lambda: codec.gen.encode(spectrogram.segment(audio, hop)))
    yield f"| PyTorch, float32 | | {1000 * encoding:.0f} | {1000 * seconds(decode):.0f} | | |"
    arrays = [one.numpy() for one in (latents, noise, weights)]
    for kind, stored in kinds:
        target = folder / f"{chunk}-{kind}-{stored}"
        parity = export_model(checkpoint, kind, target, weights=stored)
        runs = [FORMATS[kind].load(target / f"{name}{FORMATS[kind].suffix}") for name in ("encoder", "decoder")]
        times = seconds(lambda: runs[0](audio.numpy())), seconds(lambda: runs[1](*arrays))  # noqa: B023
        cells = [f"{1000 * one:.0f}" for one in times]
        cells += [", ".join(f"{getattr(one, way):.0e}" for one in parity) for way in ("encode", "decode")]
        yield f"| {kind}, {stored} | {size(target):.1f} | " + " | ".join(cells) + " |"


def instrument(checkpoint: Checkpoint, folder: Path) -> Iterator[str]:
    """What nn~ waits for, with its buffer's size."""
    path = folder / "mini.ts"
    export_model(checkpoint, NN_TILDE, path)
    yield from ("", "## The instrument for nn~, its window 4 1", "")
    yield f"{size(path):.1f} MB. Calls of `forward`, as nn~ makes them when its buffer is full:"
    yield from ("", "| buffer (samples) | its time (ms) | mean (ms) | longest (ms) |", "|---:|---:|---:|---:|")
    for buffer in (4096, 8192, 16384, 32768):
        loaded, taken = torch.jit.load(str(path)), []
        with torch.inference_mode():
            for _ in range(24):
                begun = time.process_time()
                loaded.forward(0.1 * torch.randn(1, 1, buffer))
                taken.append(1000 * (time.process_time() - begun))
        taken = taken[8:]
        own = 1000 * buffer / checkpoint.config.sample_rate
        yield f"| {buffer} | {own:.0f} | {statistics.mean(taken):.0f} | {max(taken):.0f} |"


def quality(codec: EncoderDecoder, folder: Path, clips: list[Path]) -> Iterator[str]:
    """The figures of `evaluate`, means over clips, of the package and of the ONNX files that `table` left."""
    yield from ("", "## What weights in fewer bits cost, the bundled model", "")
    yield f"Means over {len(clips)} clips of up to {SECONDS} s, encoded and decoded by `examples/onnx_runtime.py`."
    yield from ("", "| | " + " | ".join(f"{one.title} ({one.unit or '-'})" for one in METRICS.values()) + " |")
    yield "|---|" + "---:|" * len(METRICS)
    rate = codec.sample_rate
    coders: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "the package, float32": lambda audio: codec.reconstruct(audio, rate)
    }
    for stored in ("float32", "float16", "int8"):
        other = Codec(folder / f"64-onnx-{stored}")
        coders[f"onnx, {stored}"] = lambda audio, other=other: other.decode(other.encode(audio), audio.shape[1])  # type: ignore[misc]
    for name, code in coders.items():
        rows = []
        for clip in clips:
            audio = read_whole(open_audio(clip), rate)[:1, : SECONDS * rate]
            sounds = (Sound(torch.from_numpy(one), rate) for one in (code(audio), audio))
            rows.append(list(measure(*sounds).values()))
        yield f"| {name} | " + " | ".join(f"{mean:.3f}" for mean in np.nanmean(rows, axis=0)) + " |"


def transforms(folder: Path) -> Iterator[str]:
    """Three ways to have the spectrogram of a chunk in ONNX Runtime."""

    class Matrix(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            bins = torch.view_as_real(torch.fft.rfft(torch.eye(2048))[:, :-1]).flatten(1)
            self.register_buffer("bins", bins)

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.bins

    yield from ("", "## The transform alone, 512 columns, ONNX Runtime", "", "| | MB | ms |", "|---|---:|---:|")
    x = torch.randn(1, 512, 2048)
    path = folder / "transform.onnx"

    def row(name: str, x: np.ndarray) -> str:
        session = onnxruntime.InferenceSession(path)
        taken = seconds(lambda: session.run(None, {"x": x}))
        return f"| {name} | {size(path):.2f} | {1000 * taken:.0f} |"

    for name, way in {"two small products": Fourier(2048), "one matrix": Matrix()}.items():
        torch.onnx.export(way, (x,), str(path), dynamo=False, opset_version=17, input_names=["x"])
        yield row(name, x.numpy())
    onnx.save(operator(2048, x.numel()), path)
    yield row("the operator STFT", x.numpy().reshape(1, -1, 1))


def operator(n_fft: int, samples: int) -> onnx.ModelProto:
    """ONNX's own transform of a signal."""
    make, numbers = onnx.helper, onnx.TensorProto.INT64
    constants = [make.make_tensor(name, numbers, [], [n_fft]) for name in ("step", "length")]
    node = make.make_node("STFT", ["x", "step", "", "length"], ["y"])
    ends = [
        make.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, samples, 1]), ("y", [1, samples // n_fft, n_fft // 2 + 1, 2]))
    ]
    graph = make.make_graph([node], "stft", ends[:1], ends[1:], constants)
    return make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)


def main(folders: list[str]) -> None:
    """Measure and write the tables."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # all runtimes take one thread then
    torch.set_num_threads(1)
    clips = [HERE.parent / "examples" / "clip.ogg"]
    clips += [next(walk(Path(folder), AUDIO)) for folder in folders]
    lines = ["# Exports", "", "    python benchmarks/exports.py FOLDERS", ""]
    lines += [f"On {processor().partition(' of ')[2]}, torch {torch.__version__},"]
    lines += [f"OpenVINO {openvino.__version__.split('-')[0]},"]
    lines += [f"ONNX Runtime {onnxruntime.__version__}; processor time on one core of a machine that"]
    lines += [f"other work shared, medians of {ROUNDS}."]
    lines += ["Errors are norms, relative, against the package with the same weights, at lengths that were not traced;"]
    lines += ["an export accepts 1e-03."]

    def add(rows: Iterator[str]) -> None:
        for row in rows:
            print(row, flush=True)
            lines.append(row)

    mini = EncoderDecoder(device="cpu", dtype="float32")
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        kinds = [(kind, stored) for kind in FORMATS for stored in ("float32", "float16", "int8")]
        add(table("The bundled model", mini.checkpoint, 64, kinds, folder))
        add(quality(mini, folder, clips))
        add(instrument(mini.checkpoint, folder))
        add(transforms(folder))
        official_checkpoint(folder / "official.pt")
        official = read_checkpoint(folder / "official.pt", model_id="random")
        kinds = [(kind, "float32") for kind in FORMATS]
        add(table("The official shape, random weights", official, 8, kinds, folder))
    (HERE / "exports.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
