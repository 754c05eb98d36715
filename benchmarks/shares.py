"""What the time of the official shape goes to, in the default precision: python benchmarks/shares.py

Self times of PyTorch's profiler over ten seconds of audio, by kind of operation, after one run that does not count.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from bench import official_checkpoint
from torch.profiler import profile
from worker import noise

from music2latent import EncoderDecoder

KINDS = {
    "convolution": ("convolution",),
    "normalisation": ("_GroupNorm", "group_norm"),
    "attention and linear layers": ("linear", "addmm", "bmm", "softmax", "attention"),
    "additions, scalings, copies": ("add", "mul", "div", "copy", "clone", "cat", "silu", "index", "stack"),
}


def shares(run: Callable[[], object]) -> dict[str, float]:
    """Fractions of the time, by kind."""
    run()
    with profile() as found:
        run()
    times: Counter[str] = Counter()
    for event in found.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), "the rest")
        times[kind] += event.self_cpu_time_total
    return {kind: times[kind] / times.total() for kind in [*KINDS, "the rest"]}


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        official_checkpoint(Path(name) / "official.pt")
        codec = EncoderDecoder(Path(name) / "official.pt", device="cpu")
    audio = noise(10, codec.sample_rate)
    with torch.inference_mode():
        latents = codec.encode(audio)
        columns = [shares(lambda: codec.encode(audio)), shares(lambda: codec.decode(latents))]
    print("| | encode | decode |\n|---|---:|---:|")
    for kind in columns[0]:
        print(f"| {kind} | " + " | ".join(f"{column[kind]:.0%}" for column in columns) + " |")


if __name__ == "__main__":
    main()
