"""The networks in other runtimes beside ours: why there is no `backend=` argument.

    pip install openvino nncf onnx onnxruntime
    python benchmarks/backends.py

One chunk of each shape through the encoder, and through upsampler and denoiser: PyTorch as the package runs it, then
OpenVINO, its 8-bit integers (calibrated by NNCF on the very input that is timed), and ONNX Runtime. Writes backends.md.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import nncf
import numpy as np
import onnxruntime
import openvino
import torch
from bench import official_checkpoint
from machine import processor
from torch import Tensor, nn

from music2latent import EncoderDecoder
from music2latent.audio import open_audio, read_whole
from music2latent.autoencoder import Autoencoder
from music2latent.spectrogram import analyse, segment

HERE = Path(__file__).parent
CLIP = HERE.parent / "examples" / "clip.ogg"
ROUNDS = 7
Part = tuple[nn.Module, tuple[Tensor, ...]]


class Decoder(nn.Module):
    """Upsampler and denoiser as one."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, latents: Tensor, x: Tensor, c_noise: Tensor) -> Tensor:
        return self.model.denoiser(x, c_noise, self.model.decoder(latents))


def parts(model: Autoencoder, chunk: int) -> list[Part]:
    """Encoder and decoder with the inputs of a chunk, the clip's sound and noise."""
    config = model.config
    audio = torch.from_numpy(read_whole(open_audio(CLIP), config.sample_rate)[:1])
    samples = audio[:, : chunk * config.frame_size + config.edge]
    spectrogram = analyse(segment(samples, config.hop_length)).to(model.dtype)
    noise = torch.randn(spectrogram.shape, generator=torch.Generator().manual_seed(0)).to(model.dtype)
    c_noise = torch.full((1,), config.sigma_max, dtype=model.dtype).log() / 4
    return [(model.encoder, (spectrogram,)), (Decoder(model), (model.encoder(spectrogram), noise, c_noise))]


def runtimes(part: Part, folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """The float32 part in every other runtime."""
    network, inputs = part
    arrays = [value.numpy() for value in inputs]
    converted = openvino.convert_model(network, example_input=inputs, input=[list(a.shape) for a in arrays])
    quantised = nncf.quantize(converted, nncf.Dataset([arrays]), subset_size=1)
    core = openvino.Core()
    for name, model, precision in (
        ("OpenVINO, float32", converted, "f32"),
        ("OpenVINO, bfloat16", converted, "bf16"),
        ("OpenVINO, int8", quantised, "bf16"),
    ):
        request = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision}).create_infer_request()
        yield name, lambda request=request: request.infer(arrays)[0]  # type: ignore[misc]
    names = [f"input{number}" for number in range(len(inputs))]
    torch.onnx.export(network, inputs, str(folder / "part.onnx"), dynamo=False, opset_version=17, input_names=names)
    session = onnxruntime.InferenceSession(folder / "part.onnx")
    yield "ONNX Runtime, float32", lambda: session.run(None, dict(zip(names, arrays, strict=True)))[0]


def seconds(run: Callable[[], object]) -> float:
    """The median, after one call that does not count."""
    taken = []
    for _ in range(ROUNDS + 1):
        begun = time.perf_counter()
        run()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])


@torch.no_grad()
def table(title: str, load: Callable[[str], EncoderDecoder], chunk: int, folder: Path) -> list[str]:
    """Milliseconds and errors of everything, for one model."""
    rows: dict[str, list[str]] = {}
    exact = parts(load("float32").gen, chunk)
    rounded = parts(load("bfloat16").gen, chunk)
    plain = parts(load("float32").gen.use_plain_layers(), chunk)
    for number, (network, inputs) in enumerate(exact):
        expected = network(*inputs).numpy()
        half, half_inputs = rounded[number]

        def ours(network: nn.Module = network, inputs: tuple[Tensor, ...] = inputs) -> object:
            return network(*inputs).float().numpy()

        candidates = [("ours, float32", ours), ("ours, bfloat16", lambda: ours(half, half_inputs))]  # noqa: B023
        candidates += runtimes(plain[number], folder)  # what they make of PyTorch's own layers
        for name, run in candidates:
            error = np.linalg.norm(np.asarray(run()) - expected) / np.linalg.norm(expected)
            rows.setdefault(name, []).extend([f"{1000 * seconds(run):.0f}", f"{error:.1e}"])
            print(title, name, rows[name], flush=True)
    lines = [f"## {title}, one chunk of {chunk} latents", ""]
    lines += ["| | encode (ms) | error | decode (ms) | error |", "|---|---:|---:|---:|---:|"]
    return [*lines, *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()), ""]


def main() -> None:
    """Measure and write the tables."""
    lines = ["# Other runtimes", "", "    python benchmarks/backends.py", ""]
    lines += [f"On {processor()}, torch {torch.__version__}, OpenVINO {openvino.__version__.split('-')[0]},"]
    lines[-1] += f" ONNX Runtime {onnxruntime.__version__}; medians of {ROUNDS}."
    lines += ["Errors are norms, relative, against ours in float32, of what the networks give.", ""]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        official_checkpoint(folder / "official.pt")
        lines += table("The bundled model", lambda dtype: EncoderDecoder(dtype=dtype, device="cpu"), 64, folder)
        lines += table(
            "The official shape, random weights",
            lambda dtype: EncoderDecoder(folder / "official.pt", dtype=dtype, device="cpu"),
            24,
            folder,
        )
    (HERE / "backends.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
