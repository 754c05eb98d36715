"""Shared by the tests: reference models, small audio, one run of the command line."""

from __future__ import annotations

import io
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from music2latent import EncoderDecoder, ModelConfig
from music2latent.audio import write_audio
from music2latent.autoencoder import Autoencoder
from music2latent.checkpoint import Checkpoint
from music2latent.cli import main

from .reference import fill_weights

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals, links and names as POSIX has them")
REFERENCE = Path(__file__).parent / "reference"
CASES = json.loads((REFERENCE / "cases.json").read_text())
ROOT = Path(__file__).parent.parent
CLIP = ROOT / "examples" / "clip.ogg"


def reference_keys(name: str) -> list[tuple[str, tuple[int, ...]]]:
    """Keys and shapes of a reference configuration's checkpoint, in order."""
    return [(key, tuple(shape)) for key, shape in json.loads((REFERENCE / f"{name}.json").read_text())["parameters"]]


@cache
def reference_checkpoint(name: str) -> Checkpoint:
    config = ModelConfig.from_dict(json.loads((REFERENCE / f"{name}.json").read_text())["config"])
    weights = {key: torch.from_numpy(fill_weights.fill(key, shape)) for key, shape in reference_keys(name)}
    return Checkpoint(config=config, state_dict=weights, model_id=name, latent_scale=0.06)


@cache
def least_checkpoint() -> Checkpoint:
    """A model of few and small layers, for tests that read many files."""
    config = ModelConfig(
        base_channels=4,
        multipliers_list=(1, 1),
        layers_list=(1, 1),
        attention_list=(0, 1),
        layers_list_encoder=(1, 1),
        attention_list_encoder=(0, 1),
        freq_downsample_list=(0,),
        bottleneck_base_channels=4,
        num_bottleneck_layers=0,
        cond_channels=4,
        latent_dim=2,
        hop_length=4,
    )
    torch.manual_seed(0)
    return Checkpoint(config=config, state_dict=Autoencoder(config).state_dict(), model_id="least", latent_scale=0.06)


@cache
def reference_codec(name: str) -> EncoderDecoder:
    return EncoderDecoder(model=reference_checkpoint(name), device="cpu", dtype="float32")


def relative_error(got: object, expected: object) -> float:
    """Norm of the difference over norm."""
    expected = np.asarray(expected, np.float64)
    return float(np.linalg.norm(np.asarray(got, np.float64) - expected) / np.linalg.norm(expected))


def sound(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    """Gliding tones over noise, `[C, n]` float32."""
    return fill_weights.audio(seed, channels, samples)


def noise(channels: int, n: int, seed: int = 0) -> np.ndarray:
    """White noise, `[C, n]` float32."""
    return 0.1 * np.random.default_rng(seed).standard_normal((channels, n)).astype(np.float32)


def gradient(tensor: torch.Tensor) -> torch.Tensor:
    """Its gradient, which is there."""
    assert tensor.grad is not None
    return tensor.grad


def channels_last(model: Autoencoder) -> Autoencoder:
    """In the layout of the fast layers."""
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


class NoNorm(torch.nn.Module):
    """In place of a normalisation, whose statistics reach over the whole chunk."""

    def forward(
        self, x: torch.Tensor, *, shift: torch.Tensor | None = None, silu: bool = False, reuse: bool = False
    ) -> torch.Tensor:
        x = x if shift is None else x + shift.view(*x.shape[:2], *[1] * (x.ndim - 2))
        return torch.nn.functional.silu(x) if silu else x


@contextmanager
def disk_with(room: int) -> Iterator[None]:
    """No file may grow beyond this many bytes: to a writer the same as a full disk."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def tiny_weights(name: str = "tiny") -> dict[str, torch.Tensor]:
    return dict(reference_checkpoint(name).state_dict)


def pt_file(path: Path, **content: Any) -> Path:
    torch.save({"gen_state_dict": tiny_weights()} | content, path)
    return path


SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Result:
    """One run of the command line, in this process: importing torch anew for each would take most of the time."""

    def __init__(self, *arguments: object) -> None:
        out, err = io.StringIO(), io.StringIO()
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        try:
            with (
                pytest.MonkeyPatch.context() as patch,
                redirect_stdout(out),
                redirect_stderr(err),
                pytest.raises(SystemExit) as exit,
            ):
                patch.setattr(sys, "argv", ["music2latent", *map(str, arguments)])
                main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        self.out, self.err, self.code = out.getvalue(), err.getvalue(), exit.value.code or 0


def audio_file(path: Path, channels: int = 1, samples: int = 9000, rate: int = 44100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, [sound(channels, samples)], rate, channels, samples)
    return path


def file_facts(path: Path) -> tuple[int, int, int]:
    info = soundfile.info(path)
    return info.samplerate, info.channels, info.frames


def check_refused(tmp_path: Path, message: str, *arguments: object, code: int = 1) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = Result(*arguments)
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.code == code
    if code == 1:
        assert len(done.err.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


INTERRUPTED = (1, "error: interrupted; nothing half-written was left\n")
