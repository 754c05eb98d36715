"""One codec, one length, one process: python worker.py CODEC SECONDS CHECKPOINT CODE -> a line of JSON.

Encodes, and leaves the code in the file CODE; where that file exists, decodes it.

Runs in either environment, ours or that of the peers, and so imports neither before it knows which. All networks have
random weights, on which speed does not depend: the same file of the official shape for the official package and for
ours, and for the others whatever their constructors draw; where one insists on loading, what it loads is thrown away.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import huggingface_hub
import numpy as np
import torch

Pair = tuple[int, Callable[[np.ndarray], Any], Callable[[Any], Any]]
"""Sample rate; audio `[n]` -> code; code -> audio."""


def official(checkpoint: str, device: str = "cpu") -> Pair:
    with patch.object(huggingface_hub, "hf_hub_download", return_value=checkpoint):  # it asks for its own model anyway
        from music2latent import EncoderDecoder

        codec = EncoderDecoder(load_path_inference=checkpoint, device=device)
    return 44100, codec.encode, codec.decode


def ours(**options: Any) -> Callable[[str], Pair]:
    def make(checkpoint: str) -> Pair:
        from music2latent import EncoderDecoder

        codec = EncoderDecoder(load_path_inference=checkpoint, **options)
        if not options.get("compile"):
            return codec.sample_rate, codec.encode, codec.decode
        # Chunks of full length are compiled: the length is named.
        size, edge = codec.frame_size, codec.config.edge
        encode = lambda x: codec.encode(x, max_waveform_length=(len(x) - edge) // size * size)  # noqa: E731
        return codec.sample_rate, encode, lambda z: codec.decode(z, max_waveform_length=z.shape[-1] * size)

    return make


def mini(checkpoint: str) -> Pair:
    from music2latent import EncoderDecoder

    codec = EncoderDecoder(device="cpu")
    return codec.sample_rate, lambda x: codec.compress(x[None], codec.sample_rate), codec.decompress


def linear_cae(checkpoint: str) -> Pair:
    from linear_cae import Autoencoder
    from linear_cae.components.diffusion import Diffusion
    from linear_cae.components.frontends import ScaledComplexSTFT
    from linear_cae.components.generator import UNet

    model = Autoencoder(ScaledComplexSTFT(hop_size=512), UNet(hop=512), Diffusion()).eval()
    return 44100, lambda x: model.encode(torch.from_numpy(x)[None]), model.decode


def codicodec(checkpoint: str) -> Pair:
    with (
        patch.object(huggingface_hub, "hf_hub_download", return_value=checkpoint),
        patch.object(torch, "load", MagicMock()),
        patch.object(torch.nn.Module, "load_state_dict"),
    ):
        from codicodec import EncoderDecoder

        model = EncoderDecoder(load_path_inference=checkpoint, device="cpu")
    return 48000, lambda x: model.encode(np.stack([x, x])), model.decode  # it is stereo only


def dac(checkpoint: str) -> Pair:
    sys.modules["torchaudio"] = MagicMock()  # imported, and not used by the network
    from dac import DAC

    model = DAC(sample_rate=44100).eval()  # the 44 kHz model is the default
    encode = lambda x: model.encode(model.preprocess(torch.from_numpy(x)[None, None], 44100))[0]  # noqa: E731
    return 44100, encode, model.decode


def encodec(checkpoint: str) -> Pair:
    sys.modules["torchaudio"] = MagicMock()  # imported, and not used by the network
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False).eval()
    model.set_target_bandwidth(6.0)
    return 24000, lambda x: model.encode(torch.from_numpy(x)[None, None]), model.decode


CODECS: dict[str, Callable[[str], Pair]] = {
    "official": official,
    "float32": ours(device="cpu", dtype="float32"),
    "auto": ours(device="cpu"),
    "mini": mini,
    "linear-cae": linear_cae,
    "codicodec": codicodec,
    "dac": dac,
    "encodec": encodec,
    "official, GPU": partial(official, device="cuda"),
    "auto, GPU": ours(device="cuda"),
    "compiled, GPU": ours(device="cuda", compile=True),
}


def noise(seconds: float, rate: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32)


def peak() -> int:
    """Of memory, in bytes: the GPU's where one is used."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(name: str, seconds: float, checkpoint: str, path: Path) -> dict[str, float]:
    rate, encode, decode = CODECS[name](checkpoint)
    on_gpu = name.endswith("GPU")
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    with torch.inference_mode():
        # Whatever the first call sets up; on a GPU that is also kernels, and graphs, for the very length.
        for _ in range(3 if on_gpu else 1):
            decode(encode(noise(seconds if on_gpu else 2, rate)))
        done, run = ("decode", decode) if path.exists() else ("encode", encode)
        given = torch.load(path, weights_only=False) if path.exists() else noise(seconds, rate)
        begun = time.perf_counter()
        result = run(given)
        wait()
        taken = time.perf_counter() - begun
    if done == "encode":
        torch.save(result, path)
    return {f"{done}_seconds": taken, f"{done}_peak": peak()}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], float(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))))
