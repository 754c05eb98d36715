"""The instrument in a host that calls it as nn~ does is a stream of the package, later."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from music2latent import EncoderDecoder, InputError, chunk_coding
from music2latent.chunks import ChunkPlan
from music2latent.export.model import export_model
from music2latent.streaming import LIVE, StreamDecoder, StreamEncoder

from ..helpers import least_checkpoint, reference_checkpoint, relative_error, sound

pytest.importorskip("nn_tilde", reason="pip install --no-deps nn-tilde cached-conv")
FRAME, EDGE = 4096, 1536


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("instrument") / "tiny.ts"
    export_model(reference_checkpoint("tiny"), "nn-tilde", target)
    return target


@pytest.fixture
def instrument(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A fresh one, and the package with its noise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(str(path))

    def noise(seed: int, step: int, start: int, stop: int, config: object) -> torch.Tensor:
        assert (seed, step) == (loaded.get_seed(), 0)
        return loaded.noise(start, stop - start)

    monkeypatch.setattr(chunk_coding, "keyed_noise", noise)
    once: Any = torch.jit  # optimizing does not pay for a few calls
    with torch.inference_mode(), once.optimized_execution(False):
        yield loaded


def host(instrument: Any, method: str, signal: np.ndarray, vector: int, buffer: int) -> np.ndarray:
    """What nn~ makes of signals `[inlets, n]`: it gathers vectors of the host until its buffer is full, hands the model
    every ratio-th sample of it, and repeats what comes back."""
    inlets, in_ratio, outlets, out_ratio = getattr(instrument, f"{method}_params").tolist()
    assert len(signal) == inlets
    gathered, ready, out = signal[:, :0], np.zeros((outlets, 0), np.float32), []
    for start in range(0, signal.shape[1], vector):
        gathered = np.concatenate([gathered, signal[:, start : start + vector]], axis=1)
        if gathered.shape[1] == buffer:
            block = torch.from_numpy(gathered).reshape(1, inlets, -1, in_ratio).select(-1, -1)
            result = getattr(instrument, method)(block).repeat_interleave(out_ratio).reshape(outlets, -1)
            assert result.shape[1] == buffer
            gathered, ready = signal[:, :0], np.concatenate([ready, result.numpy()], axis=1)
        silence = np.zeros((outlets, max(vector - ready.shape[1], 0)), np.float32)
        ready = np.concatenate([ready, silence], axis=1)
        out.append(ready[:, :vector])
        ready = ready[:, vector:]
    return np.concatenate(out, axis=1)


def check_late(got: np.ndarray, expected: np.ndarray, late: int) -> None:
    """Silence, then what is expected, as far as there was time for it."""
    assert not got[..., :late].any()
    length = min(got.shape[-1] - late, expected.shape[-1])
    assert length > 2 * FRAME
    assert relative_error(got[..., late : late + length], expected[..., :length]) < 1e-4


def stream(codec: EncoderDecoder, audio: np.ndarray, plan: ChunkPlan = LIVE, seed: int = 0) -> tuple[Any, Any]:
    """Latents and samples of the package's streams."""
    encoder = StreamEncoder(codec, plan=plan, channels=len(audio))
    decoder = StreamDecoder(codec, plan=plan, channels=len(audio), seed=seed)
    latents = torch.cat([encoder.push(audio), encoder.flush()], dim=2)
    return latents.numpy(), decoder.push(latents)


@pytest.mark.parametrize(("vector", "buffer"), [(64, 4096), (512, 8192), (4096, 4096), (8192, 8192)])
def test_forward_is_a_stream(instrument: Any, tiny: EncoderDecoder, vector: int, buffer: int) -> None:
    audio = sound(1, 16 * FRAME)
    got = host(instrument, "forward", audio, vector, buffer)
    check_late(got, stream(tiny, audio)[1], buffer - vector + 6 * FRAME + EDGE)


@pytest.mark.parametrize(("vector", "buffer"), [(64, 4096), (8192, 16384)])
def test_encode_and_decode_are_streams(instrument: Any, tiny: EncoderDecoder, vector: int, buffer: int) -> None:
    audio = sound(1, 16 * FRAME)
    latents, samples = stream(tiny, audio)
    held = host(instrument, "encode", audio, vector, buffer)
    late = buffer - vector + 3 * FRAME
    check_late(held, latents[0].repeat(FRAME, axis=1), late)
    signal = np.ascontiguousarray(held[:, late:])  # as if nothing had been late
    got = host(instrument, "decode", signal[:, : signal.shape[1] // buffer * buffer], vector, buffer)
    check_late(got, samples, buffer - vector + 3 * FRAME + EDGE)


@pytest.mark.parametrize(("plan", "late"), [(ChunkPlan(8, 2), 13), (ChunkPlan(3, 0), 2), (ChunkPlan(4, 2), 5)])
def test_window_and_seed(instrument: Any, tiny: EncoderDecoder, plan: ChunkPlan, late: int) -> None:
    audio = sound(1, 20 * FRAME)
    instrument.forward(torch.from_numpy(audio[:, :FRAME])[None])  # of another stream
    assert instrument.set_window(plan.length, plan.overlap) == 0
    assert instrument.set_seed(7) == 0
    assert (instrument.get_window(), instrument.get_seed()) == ((plan.length, plan.overlap), 7)
    check_late(host(instrument, "forward", audio, 4096, 4096), stream(tiny, audio, plan, 7)[1], late * FRAME + EDGE)


def test_several_signals_at_once(instrument: Any, tiny: EncoderDecoder) -> None:
    """As mc.nn~ has them."""
    audio = sound(2, 12 * FRAME)
    instrument.forward(torch.zeros(1, 1, FRAME))
    got = [instrument.forward(block) for block in torch.from_numpy(audio)[:, None].split(FRAME, dim=2)]
    check_late(torch.cat(got, dim=2)[:, 0].numpy(), stream(tiny, audio)[1], 6 * FRAME + EDGE)


def test_noise(instrument: Any) -> None:
    noise = instrument.noise(0, 8)
    assert noise.shape == (2, 1024, 64)
    assert torch.equal(instrument.noise(3, 2), noise[..., 24:40])
    flat = noise.flatten().double()
    for power, moment in enumerate((0, 1, 0, 3), start=1):
        assert abs(float((flat**power).mean()) - moment) < 0.05
    instrument.set_seed(1)
    other = instrument.noise(0, 8)
    pairs = [(noise, other), (noise[0], noise[1]), (noise[..., :32], noise[..., 32:]), (noise[:, :-1], noise[:, 1:])]
    for one, two in pairs:
        assert abs(float(torch.corrcoef(torch.stack([one.flatten(), two.flatten()]))[0, 1])) < 0.02


def test_what_hosts_ask_for(instrument: Any) -> None:
    assert instrument.get_methods() == ["forward", "encode", "decode"]
    assert instrument.get_attributes() == ["seed", "window"]
    assert instrument.get_sample_rate() == 44100
    assert instrument.encode_params.tolist() == [1, 1, 64, FRAME]
    assert instrument.decode_params.tolist() == [64, FRAME, 1, 1]


@pytest.mark.parametrize("count", [0, 64, 4095, 6000])
def test_blocks_that_are_no_multiples_are_refused(instrument: Any, count: int) -> None:
    for method in ("forward", "encode"):
        with pytest.raises(Exception, match=rf"a block of {count} samples; accepted: multiples of 4096"):
            getattr(instrument, method)(torch.zeros(1, 1, count))


@pytest.mark.parametrize("window", [(0, 0), (3, 2), (4, -1)])
def test_windows_that_cannot_be_are_refused(instrument: Any, window: tuple[int, int]) -> None:
    assert instrument.set_window(*window) == -1
    assert instrument.get_window() == (4, 1)


def test_refused(tmp_path: Path, path: Path) -> None:
    with pytest.raises(InputError, match=r"files ending in \.ts"):
        export_model(least_checkpoint(), "nn-tilde", tmp_path / "a.pt")
    with pytest.raises(InputError, match="exists already"):
        export_model(least_checkpoint(), "nn-tilde", path)
    with pytest.raises(InputError, match="frames of 8 samples; an instrument needs at least 12"):
        export_model(least_checkpoint(), "nn-tilde", tmp_path / "a.ts")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        export_model(least_checkpoint(), "nn-tilde", tmp_path / "file" / "a.ts")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
