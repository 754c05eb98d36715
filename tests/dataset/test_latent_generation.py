"""The example that trains a flow on a data set: examples/latent_generation."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from music2latent import EncoderDecoder, InputError

from ..helpers import ROOT, sound

FOLDER = ROOT / "examples" / "latent_generation"
NAMES = ("settings", "flow", "train", "sample")
TINY: dict[str, Any] = {"window": 16, "width": 32, "depth": 1, "heads": 2, "batch_size": 4}
Build = Callable[..., Path]


@pytest.fixture(scope="module")
def example() -> Iterator[Any]:
    """The example's modules, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        yield SimpleNamespace(**{name: import_module(name) for name in NAMES})
    for name in NAMES:
        del sys.modules[name]


@pytest.fixture(scope="module")
def run(example: Any, build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run."""
    folder = tmp_path_factory.mktemp("run")
    config = example.settings.Config(steps=90, save_every=30, lr=1e-2, ema_decay=0.9, **TINY)
    example.train.train(build(), folder, config, build())
    return folder


def losses(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "losses.jsonl").read_text().splitlines()]


def network(example: Any) -> Any:
    """With weights that do something from the start."""
    torch.manual_seed(0)
    flow = example.flow.Flow(2, 32, 1, 2)
    for weight in flow.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    return flow


def test_it_is_short() -> None:
    lines = [line for path in FOLDER.glob("*.py") for line in path.read_text().splitlines() if line.strip()]
    assert len(lines) < 400


# ------------------------------------------------------------------------------------------------ training


def test_the_loss_falls(run: Path) -> None:
    found = losses(run)
    assert [line["step"] for line in found] == [30, 60, 90]
    for name in ("loss", "validation_loss"):
        assert found[-1][name] < 0.97 * found[0][name]


def test_a_stopped_run_goes_on_as_if_it_had_not_been(
    example: Any, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = example.settings.Config(steps=9, save_every=4, **TINY | {"batch_size": 3})  # an epoch has three steps
    one, other = tmp_path / "one", tmp_path / "other"
    example.train.train(build(), one, config)
    save = example.train.save

    def stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(example.train, "save", stop)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                example.train.train(build(), other, config)
    example.train.train(build(), other, config)
    states = [example.settings.read_run(folder)[0] for folder in (one, other)]
    for part in ("flow", "ema"):
        assert all(torch.equal(value, states[1][part][name]) for name, value in states[0][part].items())
    lines = [[(line["step"], line["loss"]) for line in losses(folder)] for folder in (one, other)]
    assert lines[0] == lines[1]
    example.train.train(build(), other, config)  # done already
    assert len(losses(other)) == 3


@given(st.lists(st.integers(1, 20), min_size=1, max_size=8), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_something_real_is_always_left_to_learn(example: Any, lengths: list[int], seed: int) -> None:
    real = torch.arange(20) < torch.tensor(lengths)[:, None]
    known = example.flow.draw_known(real, torch.Generator().manual_seed(seed))
    assert not (known & ~real).any()
    assert (real & ~known).any(dim=1).all()


def test_the_loss_ignores_padding(example: Any) -> None:
    flow, data = network(example), torch.randn(4, 2, 20)
    real = torch.arange(20) < torch.tensor([[3], [9], [20], [1]])
    found = [
        example.flow.flow_loss(flow, torch.where(real[:, None], data, other), real, torch.Generator().manual_seed(1))
        for other in (0.0, 7.0)
    ]
    assert torch.equal(*found)


# ------------------------------------------------------------------------------------------------ sampling


def test_a_straight_flow_leads_to_the_data_in_any_number_of_steps(example: Any) -> None:
    """x_t = (1 - t) data + t noise, whose velocity is noise - data."""
    data, noise, known = torch.randn(2, 3, 8), torch.randn(2, 3, 8), torch.arange(8) % 3 == 0
    for num_steps in (1, 2, 7):
        made = example.flow.solve(lambda *_: noise - data, data, known, noise, num_steps)
        torch.testing.assert_close(made, data, atol=1e-5, rtol=0)
        assert torch.equal(made[..., known], data[..., known])


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 25)), min_size=1, max_size=5), st.integers(2, 30))
@settings(max_examples=50, deadline=None)
def test_what_is_known_stays_and_the_rest_is_made(example: Any, runs: list[tuple[bool, int]], window: int) -> None:
    known = torch.tensor([is_known for is_known, count in runs for _ in range(count)])
    values = torch.randn(1, 2, len(known)).expand(2, -1, -1)
    before, flow, seen = values.clone(), network(example), []

    def watched(x: Tensor, t: Tensor, given: Tensor, real: Tensor) -> Any:
        seen.append(int(given[0].sum()))
        return flow(x, t, given, real)

    made = example.flow.fill(watched, values, known, window, 1, seed=3)
    assert made.shape == values.shape
    assert torch.equal(made[..., known], before[..., known])
    assert torch.equal(values, before)
    assert (made[..., ~known] != before[..., ~known]).all()
    torch.testing.assert_close(made[0], made[1], atol=1e-5, rtol=0)  # equal channels stay equal
    assert torch.equal(made, example.flow.fill(flow, values, known, window, 1, seed=3))
    gaps = torch.nn.functional.pad(known.int(), (1, 0), value=1).diff() == -1
    if gaps.sum() == 1:  # beside another gap there is less to go by
        assert all(count >= min(window // 2, int(gaps.int().argmax())) for count in seen)


@given(st.integers(0, 300), st.integers(1, 300), st.integers(0, 100), st.sampled_from([44100, 48000]))
@settings(max_examples=25, deadline=None)
def test_nothing_of_a_gap_is_seen(
    example: Any, least: EncoderDecoder, start: int, gap: int, after: int, rate: int
) -> None:
    samples = sound(2, start + gap + after)
    values, known = example.sample.given(least, samples, rate, start, start + gap)
    samples[:, start : start + gap] = 1.0
    assert torch.equal(example.sample.given(least, samples, rate, start, start + gap)[0], values)
    unknown = torch.nonzero(~known)[:, 0]
    frame = least.frame_size
    assert start - frame < unknown[0] * frame <= start
    behind = -(-(start + gap) // frame)
    assert unknown[-1] + 1 == (behind if behind * frame < samples.shape[-1] else len(known))
    assert len(unknown) == unknown[-1] - unknown[0] + 1


@pytest.mark.parametrize(
    ("options", "channels", "expected"),
    [
        ({"seconds": 0.01}, 1, 441),
        ({"seconds": 0.005, "clip": "clip.wav"}, 2, 800 + 220),
        ({"gapped": "clip.wav", "start": 0.0, "stop": 0.01}, 2, 800),
        ({"gapped": "clip.wav", "start": 0.005, "stop": 800 / 44100}, 2, 800),
        ({"gapped": "clip.wav", "start": 0.008, "stop": 0.010}, 2, 800),
    ],
)
def test_audio_is_as_long_as_asked(
    example: Any, run: Path, least: EncoderDecoder, in_place: None, options: Any, channels: int, expected: int
) -> None:
    options = {name: Path(value) if isinstance(value, str) else value for name, value in options.items()}
    example.sample.main(run, Path("out.wav"), steps=1, **options)
    info = soundfile.info("out.wav")
    assert (info.frames, info.channels, info.samplerate) == (expected, channels, 44100)


@pytest.fixture
def in_place(example: Any, least: EncoderDecoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder with a clip; the codec is the one that the data is encoded with."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(example.sample, "EncoderDecoder", lambda **_: least)
    soundfile.write("clip.wav", sound(2, 800).T, 44100)


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": Path("clip.wav"), "gapped": Path("clip.wav")}, "choose one"),
        ({"start": 0.0, "stop": 0.01}, "--fill takes a clip, with --from and --to"),
        ({"gapped": Path("clip.wav"), "start": 0.0}, "--fill takes a clip, with --from and --to"),
        ({"gapped": Path("clip.wav"), "start": 0.01, "stop": 0.02}, "expected one in the 0.02 s of clip.wav"),
        ({"gapped": Path("clip.wav"), "start": -1.0, "stop": 0.01}, "a gap from -1 to"),
        ({"gapped": Path("clip.wav"), "start": 0.01, "stop": 0.01}, "a gap from 0.01 to 0.01"),
        ({"clip": Path("none.wav")}, "none.wav"),
        ({"output": Path("out.txt")}, "out.txt"),
        ({"output": Path("clip.wav")}, "exists already"),
        ({"run": Path("nothing")}, "nothing: no run of train.py"),
    ],
)
def test_what_cannot_be_made_is_refused(
    example: Any, run: Path, in_place: None, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        example.sample.main(**({"run": run, "output": Path("out.wav")} | options))
    assert not Path("out.wav").exists()


def test_another_models_latents_are_refused(
    example: Any, run: Path, build: Build, tiny: EncoderDecoder, in_place: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(example.sample, "EncoderDecoder", lambda **_: tiny)
    with pytest.raises(InputError, match="trained on latents of 'least'.*name that model"):
        example.sample.main(run, Path("out.wav"))
    state = torch.load(run / "last.pt", weights_only=True)
    Path("other").mkdir()
    torch.save(state | {"model": state["model"] | {"fingerprint": "0"}}, "other/last.pt")
    with pytest.raises(InputError, match="expected those of"):
        example.train.train(build(), Path("other"), example.settings.Config(**state["config"]))


def test_runs_and_data_that_cannot_be_used_are_refused(example: Any, run: Path, build: Build, tmp_path: Path) -> None:
    train, config = example.train.train, example.settings.Config(**TINY)
    with pytest.raises(InputError, match="other settings: steps was 90, now 3000; lr was .*; choose"):
        train(build(), run, config)
    with pytest.raises(InputError, match="no data set"):
        train(tmp_path, tmp_path / "new", config)
    with pytest.raises(InputError, match="features, which cannot be decoded"):
        train(build(features=True), tmp_path / "new", config)
    assert not (tmp_path / "new").exists()
    (tmp_path / "last.pt").write_bytes((run / "last.pt").read_bytes()[:-1000])
    with pytest.raises(InputError, match="damaged"):
        train(build(), tmp_path, config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("widht = 3", "did you mean 'width'"),
        ("width = 'x'", "expected the kind of 192"),
        ("width = 100\nheads = 3", "a multiple of 12"),
        ("steps = 0", "steps"),
        ("lr = nan", "lr"),
        ("steps", "cannot be read as TOML"),
    ],
)
def test_settings_are_checked(example: Any, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        example.settings.Config.read(tmp_path / "own.toml")


def test_the_settings_for_a_gpu_are_settings(example: Any) -> None:
    assert example.settings.Config.read(FOLDER / "gpu.toml").bf16


def test_the_command_line_says_it_in_one_line(
    example: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sample.py", "/nowhere", "--output", "out.wav"])
    with pytest.raises(SystemExit, match=r"^error: /nowhere: no run of train.py; it would have last.pt$"):
        example.settings.command(example.sample.main)
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        example.settings.command(example.train.main)
    assert ended.value.code == 0
    assert "--validation" in capsys.readouterr().out
