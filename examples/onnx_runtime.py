"""A WAV file to latents and back with ONNX Runtime: no PyTorch, no music2latent.

    pip install numpy soundfile onnxruntime
    python onnx_runtime.py EXPORTED song.wav song.npy again.wav

EXPORTED is a folder that `music2latent export onnx` wrote. Signals of any length go through the networks in overlapping
chunks; `encode` and `decode` give what the package's `compress` and `decompress` give, but for rounding.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile


class Codec:
    """The two networks, and how long signals are cut into chunks for them."""

    def __init__(self, folder: str | Path) -> None:
        names = ("encoder.onnx", "decoder.onnx")
        self.encoder, self.decoder = (onnxruntime.InferenceSession(Path(folder) / name) for name in names)
        facts = self.encoder.get_modelmeta().custom_metadata_map
        sizes = ("sample_rate", "frame_size", "edge", "bins", "columns_per_latent")
        self.rate, self.frame, self.edge, self.bins, self.columns = (int(facts[name]) for name in sizes)
        self.encoder_chunk, self.decoder_chunk = (
            tuple(map(int, facts[name].split())) for name in ("encoder_chunk", "decoder_chunk")
        )

    def encode(self, samples: np.ndarray) -> np.ndarray:
        """Samples `[C, n]` -> latents `[C, D, L]`."""
        num_latents = -(-(samples.shape[1] + self.edge) // self.frame)
        after = num_latents * self.frame - samples.shape[1]
        # The networks fade the first and last `edge` samples that they see, so these are mirrored ones.
        padded = np.pad(samples, ((0, 0), (self.edge, after)), "symmetric").astype(np.float32)
        latents: np.ndarray | float = 0.0
        for start, stop in spans(num_latents, *self.encoder_chunk):
            audio = padded[:, start * self.frame : stop * self.frame + self.edge]
            values = self.encoder.run(None, {"audio": audio})[0]
            values *= fade(stop - start, self.encoder_chunk[1], first=start == 0, last=stop == num_latents)
            latents += np.pad(values, ((0, 0), (0, 0), (start, num_latents - stop)))
        return np.asarray(latents)

    def decode(self, latents: np.ndarray, num_samples: int, seed: int = 0) -> np.ndarray:
        """Latents `[C, D, L]` -> samples `[C, num_samples]`."""
        channels, _, num_latents = latents.shape
        audio = np.zeros((channels, num_latents * self.frame + self.edge), np.float32)
        length, overlap = self.decoder_chunk
        for start, stop in spans(num_latents, length, overlap):
            ends = {"first": start == 0, "last": stop == num_latents}
            weights = fade((stop - start) * self.columns, overlap * self.columns, **ends)
            inputs = {
                "latents": latents[:, :, start:stop].astype(np.float32),
                "noise": np.stack(channels * [self.noise(seed, start, stop)]),
                "weights": np.stack(channels * [weights]),
            }
            audio[:, start * self.frame : stop * self.frame + self.edge] += self.decoder.run(None, inputs)[0]
        return audio[:, self.edge : self.edge + num_samples].clip(-1, 1)

    def noise(self, seed: int, start: int, stop: int) -> np.ndarray:
        """Every latent's noise has a stream of its own, so it is the same however a signal is cut into chunks."""
        shape = (2, self.bins, self.columns)
        streams = (np.random.default_rng((seed, 0, position)) for position in range(start, stop))
        return np.concatenate([stream.standard_normal(shape, np.float32) for stream in streams], axis=2)


def spans(num_latents: int, length: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Start and stop of every chunk; each shares `overlap` latents with the next, and the last is what is left."""
    for start in range(0, max(num_latents - overlap, 1), length - overlap):
        yield start, min(start + length, num_latents)


def fade(count: int, overlap: int, *, first: bool, last: bool) -> np.ndarray:
    """Weights of a chunk's values: ones, but where it overlaps others they rise and fall in the middle quarter, so that
    those of two chunks add up to one."""
    weights = np.ones(count, np.float32)
    rise = (((np.arange(overlap) + 0.5) / max(overlap, 1) - 0.375) / 0.25).clip(0, 1)
    if not first:
        weights[:overlap] = rise
    if not last:
        weights[count - overlap :] = 1 - rise
    return weights


def main(exported: str, source: str, latents_file: str, target: str) -> None:
    """Encode a file, write its latents, decode them."""
    codec = Codec(exported)
    samples, rate = soundfile.read(source, dtype="float32", always_2d=True)
    if rate != codec.rate:
        raise SystemExit(f"{source}: {rate} Hz; this model takes {codec.rate} Hz, so resample it first")
    latents = codec.encode(samples.T)
    np.save(latents_file, latents)
    soundfile.write(target, codec.decode(latents, len(samples)).T, rate)


if __name__ == "__main__":
    if len(sys.argv) != 5:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
