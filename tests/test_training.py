from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from music2latent import InputError, load_model
from music2latent.audio import write_audio
from music2latent.autoencoder import Autoencoder
from music2latent.checkpoint import read_checkpoint, write_safetensors
from music2latent.config import PRESETS
from music2latent.spectrogram import spectrogram
from music2latent.training.config import Recipe, TrainingConfig, load_config
from music2latent.training.data import CropOrder, Crops, decode_once, index_folder, parse_source
from music2latent.training.export import export_weights
from music2latent.training.loop import averaged, flattened, learning_rate, read_state, train
from music2latent.training.loss import (
    ConsistencyTraining,
    draw_sigmas,
    initialise,
    pseudo_huber,
    sigma_of,
    spectral_distance,
    step_size,
)
from music2latent.training.summary import summary

from .helpers import reference_checkpoint, sound
from .test_audio import disk_with
from .test_cli import Result

ROOT = Path(__file__).parent.parent
OFFICIAL = PRESETS["official"]

# The smallest model that is one: quick, and every layer is there.
SMALL = replace(
    PRESETS["tiny"], hop_length=64, layers_list=(1, 1, 1, 1, 1), bottleneck_base_channels=16, num_bottleneck_layers=1
)
RECIPE = Recipe(
    iterations=6,
    batch_size=4,
    crop_frames=16,
    workers=0,
    lr=1e-3,
    warmup=2,
    precision="no",
    init="variance_preserving",
    spectral_weight=0.5,
    spectral_sizes=(64, 128),
    log_every=1,
    validate_every=3,
    save_every=1,
)
CONFIG = TrainingConfig(SMALL, RECIPE)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number, (rate, channels) in enumerate([(44100, 2), (22050, 1), (48000, 2)]):
        samples = sound(channels, rate, seed=number)
        write_audio(tmp_path / "data" / f"{number}.flac", [samples], rate, *samples.shape)
    return tmp_path / "data"


def _train(data: Path, run: Path, config: TrainingConfig = CONFIG, **options: object) -> int:
    return train(config, [(data, 1.0)], run, **options)  # type: ignore[arg-type]


def _state(run: Path) -> dict[str, torch.Tensor]:
    state = read_state(run / "last.pt")
    return {f"{part}.{key}": value for part in ("model", "ema") for key, value in state[part].items()}


# --------------------------------------------------------------------------- configuration


def test_published_recipe() -> None:
    config = load_config(ROOT / "configs" / "official.toml")
    assert config == TrainingConfig(OFFICIAL, Recipe())
    assert config.crop_samples == 34304
    recipe = config.recipe
    assert (recipe.batch_size, recipe.iterations, recipe.lr, recipe.final_lr, recipe.warmup) == (
        16,
        800000,
        1e-4,
        1e-6,
        10000,
    )
    assert (recipe.P_mean, recipe.P_std, recipe.ema_decay, recipe.spectral_weight) == (-1.1, 2.0, 0.9999, 0)


@pytest.mark.parametrize("name", ["official", "mini", "tiny"])
def test_presets_survive_a_round_trip(name: str) -> None:
    config = load_config(ROOT / "configs" / f"{name}.toml")
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.model == PRESETS[name]


def test_settings() -> None:
    config = load_config(ROOT / "configs" / "tiny.toml", ["lr=2e-3", "training.precision=bf16", "model.heads=4"])
    assert (config.recipe.lr, config.recipe.precision, config.model.heads) == (2e-3, "bf16", 4)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("lrr=1", "unknown key 'lrr'; did you mean 'lr'"),
        ("modell.heads=1", "unknown table 'modell'; did you mean 'model'"),
        ("model.head=1", "unknown key 'head'; did you mean 'heads'"),
        ("lr=fast", "lr = 'fast', expected the kind of 0.0001"),
        ("batch_size=0", "batch_size = 0; it must be 1 or more"),
        ("precision=fp8", "precision = 'fp8'; accepted: no, fp16, bf16"),
        ("crop_frames=12", "crop_frames = 12; this model needs a multiple of 8"),
        ("lr", "expected key=value"),
    ],
)
def test_refused_settings(setting: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_config(ROOT / "configs" / "tiny.toml", [setting])


def test_refused_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="presets lie in configs/"):
        load_config(tmp_path / "missing.toml")
    (tmp_path / "a.toml").write_text("[model\n")
    with pytest.raises(InputError, match="not TOML"):
        load_config(tmp_path / "a.toml")


def test_dry_run() -> None:
    done = Result("train", ROOT / "configs" / "tiny.toml", "--dry-run", "--set", "lr=2e-3")
    printed = json.loads(done.out)
    assert printed["training"]["lr"] == 2e-3
    assert printed["cost"]["parameters"] == 487170
    more = summary(load_config(ROOT / "configs" / "tiny.toml", ["batch_size=16"]))
    once = printed["cost"]
    assert more["gflop_per_iteration"] == pytest.approx(2 * once["gflop_per_iteration"], rel=0.01)
    assert more["gib_activations_float32"] == pytest.approx(2 * once["gib_activations_float32"], rel=0.1)


# --------------------------------------------------------------------------- loss


def test_ends_of_the_schedules() -> None:
    recipe = Recipe()
    assert step_size(0, recipe) == pytest.approx(0.1)
    assert step_size(0.25, recipe) == pytest.approx(0.1 ** (1 + 2 * 0.25))
    assert step_size(1, recipe) == pytest.approx(0.001)
    assert sigma_of(torch.tensor([0.0, 1.0], dtype=torch.float64), OFFICIAL).tolist() == pytest.approx([0.002, 80])
    assert learning_rate(0, recipe) == pytest.approx(1e-4)
    assert learning_rate(9_999, recipe) == pytest.approx(1)
    assert learning_rate(405_000, recipe) == pytest.approx(0.5 * (1 + 0.01))
    assert learning_rate(800_000, recipe) == pytest.approx(0.01)


def test_noise_levels_follow_the_normal_law() -> None:
    """Weights N(log sigma; P_mean, P_std) on a grid that is even in u, so with density d u / d log sigma on top."""
    sigma, sigma_next = draw_sigmas(200_000, 0.5, OFFICIAL, Recipe(), torch.Generator().manual_seed(0))
    assert (sigma > sigma_next).all()
    assert sigma_next.min() >= 0.002
    assert sigma.max() <= 80.01
    u = torch.linspace(0, 1, 100_001, dtype=torch.float64)
    log_sigma = sigma_of(u, OFFICIAL).log()
    weights = torch.exp(-0.5 * ((log_sigma + 1.1) / 2) ** 2)
    mean = float((weights * log_sigma).sum() / weights.sum())
    spread = math.sqrt(float((weights * (log_sigma - mean) ** 2).sum() / weights.sum()))
    assert sigma.log().mean().item() == pytest.approx(mean, abs=0.02)
    assert sigma.log().std().item() == pytest.approx(spread, abs=0.02)
    far = sigma > 1  # away from the lower end the pair is one step apart in u

    def u_of(s: torch.Tensor) -> torch.Tensor:
        low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
        return (s ** (1 / 7) - low) / (high - low)

    assert (u_of(sigma[far]) - u_of(sigma_next[far])).numpy() == pytest.approx(0.01)


def test_pseudo_huber() -> None:
    a, b = torch.zeros(2, 2, 8, 4), torch.zeros(2, 2, 8, 4)
    assert pseudo_huber(a, b).tolist() == [0, 0]
    b[1, 0, 0, 0] = 3
    c = 0.00054 * math.sqrt(64)
    assert pseudo_huber(a, b).tolist() == pytest.approx([0, math.sqrt(9 + c**2) - c])


def test_spectral_distance_hears_magnitudes_and_no_phase() -> None:
    t = torch.arange(44100) / 44100
    tone = 0.5 * torch.sin(2 * math.pi * 1000 * t)[None]
    sizes = (512, 2048)
    assert spectral_distance(tone, tone, sizes).item() == 0
    assert spectral_distance(tone, -tone, sizes).item() == 0
    halved, gone = (spectral_distance(tone, gain * tone, sizes).item() for gain in (0.5, 0.01))
    assert 0 < halved < gone


def _inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    sigma = torch.tensor([0.5, 2.0], dtype=torch.float64)
    noise = torch.randn(2, 2, SMALL.bins, RECIPE.crop_frames)
    return torch.from_numpy(sound(2, CONFIG.crop_samples)), sigma, 0.9 * sigma, noise


def _model() -> Autoencoder:
    torch.manual_seed(1)
    model = Autoencoder(SMALL)
    for parameter in model.parameters():  # nothing at zero: every path carries a gradient
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def test_loss_is_the_papers() -> None:
    model, (audio, sigma, sigma_next, noise) = _model(), _inputs()
    recipe = replace(RECIPE, spectral_weight=0.0)
    losses = ConsistencyTraining(model, recipe)(audio, sigma, sigma_next, noise)
    with torch.no_grad():
        from music2latent.spectrogram import spectrogram

        x = spectrogram(audio, SMALL.hop_length)
        pyramid = model.decoder(model.encoder(x))
        a, b = (
            model.denoise(x + s.float()[:, None, None, None] * noise, s.float(), pyramid) for s in (sigma, sigma_next)
        )
        c = 0.00054 * math.sqrt(x[0].numel())
        distance = ((a - b).square().sum((1, 2, 3)) + c**2).sqrt() - c
        expected = (distance / (sigma - sigma_next)).mean()
    assert losses.loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.spectral.item() == 0


def test_gradient_reaches_the_encoder_through_the_student_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a student that ignores the latents, the target alone must give the encoder no gradient."""
    model, inputs = _model(), _inputs()
    recipe = replace(RECIPE, spectral_weight=0.0)
    ConsistencyTraining(model, recipe)(*inputs).loss.backward()
    assert model.encoder.conv_inp.weight.grad.abs().max() > 0
    model.zero_grad(set_to_none=True)
    denoise, calls = model.denoise, []

    def student_without_latents(x: torch.Tensor, sigma: torch.Tensor, pyramid: list[torch.Tensor]) -> torch.Tensor:
        calls.append(torch.is_grad_enabled())
        return denoise(x, sigma, [p.detach() for p in pyramid] if len(calls) == 1 else pyramid)

    monkeypatch.setattr(model, "denoise", student_without_latents)
    ConsistencyTraining(model, recipe)(*inputs).loss.backward()
    assert calls == [True, False]  # student with a graph, target without
    assert model.encoder.conv_inp.weight.grad is None
    assert model.conv_out.weight.grad.abs().max() > 0


def test_the_fast_layout_has_the_same_gradients() -> None:
    """channels_last brings the fused normalisation, training mode the written-out attention."""
    plain, fast, inputs = _model().eval(), _model(), _inputs()
    fast.to(memory_format=torch.channels_last)
    losses = [ConsistencyTraining(model, RECIPE).train(model is fast)(*inputs) for model in (plain, fast)]
    assert losses[1].loss.item() == pytest.approx(losses[0].loss.item(), rel=1e-5)
    for one in losses:
        one.loss.backward()
    for (name, one), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-4 * one.grad.abs().max(), msg=name)


def test_a_loss_without_weight_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, levels = _model(), _inputs(), []
    denoise = model.denoise
    monkeypatch.setattr(model, "denoise", lambda x, sigma, pyramid: levels.append(sigma) or denoise(x, sigma, pyramid))
    alone = ConsistencyTraining(model, replace(RECIPE, consistency_weight=0.0))(*inputs)
    assert [sigma.tolist() for sigma in levels] == [[SMALL.sigma_max] * 2]
    assert alone.loss.item() == pytest.approx(0.5 * alone.spectral.item())
    assert alone.consistency.item() == 0


def test_auxiliary_loss_reaches_every_part() -> None:
    model = _model()
    losses = ConsistencyTraining(model, RECIPE)(*_inputs())
    assert losses.loss.item() == pytest.approx((losses.consistency + 0.5 * losses.spectral).item())
    losses.loss.backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert all(".bottleneck_layers." in name and ".proj_emb." in name for name in unused)


def test_variance_preserving_weights() -> None:
    torch.manual_seed(0)
    model = Autoencoder(PRESETS["tiny"])
    before = {name for name, parameter in model.named_parameters() if not parameter.any()}
    initialise(model, Recipe(init="variance_preserving"))
    weight = model.encoder.bottleneck_layers[0].weight
    assert weight.std().item() == pytest.approx(1 / math.sqrt(weight[0].numel()), rel=0.05)
    assert before <= {name for name, parameter in model.named_parameters() if not parameter.any()}


def test_averaged_weights() -> None:
    model = _model()
    ema = averaged(model, 0.5)
    expected = model.conv_out.bias.detach().clone()
    for count in range(4):
        with torch.no_grad():
            model.conv_out.bias.add_(1.0)
        ema.update_parameters(model)
        # the first update copies; then the decay warms up until it reaches its limit
        decay = 0 if count == 0 else min(0.5, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * model.conv_out.bias.detach()
        torch.testing.assert_close(ema.module.conv_out.bias.detach(), expected)


# --------------------------------------------------------------------------- data


def _crops(data: Path, **options: object) -> Crops:
    arguments = {"seed": 0, "min_rms": 0.001} | options
    return Crops([index_folder(data, 1.0, data.parent)], 44100, 4096, **arguments)  # type: ignore[arg-type]


def test_crop_follows_from_seed_and_number(data: Path) -> None:
    crops, again = _crops(data), _crops(data)
    for number in range(8):
        crop = crops[number]
        assert crop.shape == (4096,)
        assert crop.dtype == torch.float32
        assert torch.equal(crop, again[number])
    assert not torch.equal(crops[0], crops[1])
    assert not torch.equal(crops[0], _crops(data, seed=1)[0])


def test_crop_is_what_the_file_holds(tmp_path: Path) -> None:
    ramp = np.linspace(-0.9, 0.9, 60000, dtype=np.float32)
    write_audio(tmp_path / "data" / "ramp.wav", [ramp[None]], 44100, 1, 60000)
    crop = _crops(tmp_path / "data")[0].numpy()
    start = int(np.argmin(np.abs(ramp - crop[0])))
    np.testing.assert_allclose(crop, ramp[start : start + 4096], atol=1e-4)


def test_order_is_shared_by_processes_and_goes_on() -> None:
    def numbers(first: int, batch: int, rank: int, world: int, count: int) -> list[int]:
        order = iter(CropOrder(first, batch, rank, world))
        return [next(order) for _ in range(count)]

    assert numbers(0, 4, 0, 1, 8) == list(range(8))
    assert numbers(0, 2, 0, 2, 4) == [0, 1, 4, 5]
    assert numbers(0, 2, 1, 2, 4) == [2, 3, 6, 7]
    assert numbers(8, 4, 0, 1, 4) == [8, 9, 10, 11]


def test_sources_are_mixed_by_weight(tmp_path: Path) -> None:
    for name, level in (("loud", 0.5), ("soft", 0.1)):
        write_audio(tmp_path / name / "a.wav", [np.full((1, 9000), level, np.float32)], 44100, 1, 9000)
    sources = [index_folder(tmp_path / "loud", 3.0, tmp_path), index_folder(tmp_path / "soft", 1.0, tmp_path)]
    crops = Crops(sources, 44100, 4096, seed=0, min_rms=0.001)
    loud = sum(crops[number][0].item() > 0.3 for number in range(400))
    assert loud / 400 == pytest.approx(0.75, abs=0.07)


def test_silence_is_drawn_again(tmp_path: Path) -> None:
    half = np.concatenate([np.zeros(50000), np.full(50000, 0.5)]).astype(np.float32)[None]
    write_audio(tmp_path / "data" / "a.wav", [half], 44100, 1, 100000)
    crops = _crops(tmp_path / "data")
    assert all(crops[number].square().mean().sqrt() >= 0.001 for number in range(50))
    write_audio(tmp_path / "data" / "a.wav", [0 * half], 44100, 1, 100000)
    with pytest.raises(InputError, match="200 crops in a row were silent"):
        _crops(tmp_path / "data")[0]


def test_index_is_cached_and_unreadable_files_are_listed(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "bad.wav").write_text("no audio")
    source = index_folder(data, 1.0, data.parent)
    assert len(source.tracks) == 3
    assert source.hours == pytest.approx(3 / 3600)
    assert "1 of 4 files left out" in caplog.text
    assert "bad.wav: not audio" in caplog.text
    store = next(data.parent.glob("index-*.json"))
    before = store.stat().st_mtime_ns
    assert index_folder(data, 1.0, data.parent) == source
    assert store.stat().st_mtime_ns == before
    write_audio(data / "0.flac", [sound(1, 9000)], 44100, 1, 9000)  # a changed file is looked at again
    assert index_folder(data, 1.0, data.parent).tracks[0].num_samples == 9000


def test_decoded_once(data: Path, tmp_path: Path) -> None:
    source = index_folder(data, 1.0, tmp_path)
    decoded = decode_once(source, 44100, tmp_path / "decoded")
    assert {track.sample_rate for track in decoded.tracks} == {44100}
    assert [track.num_samples for track in decoded.tracks] == [44100] * 3
    sizes = [Path(track.path).stat().st_size for track in decoded.tracks]
    assert sizes == [2 * 44100 * track.channels for track in source.tracks]
    same = [replace(one, tracks=one.tracks[:1]) for one in (source, decoded)]  # 16 bits, and not resampled
    direct, mapped = (Crops([one], 44100, 4096, seed=3, min_rms=0.001) for one in same)
    assert all(torch.equal(direct[number], mapped[number]) for number in range(20))
    times = [Path(track.path).stat().st_mtime_ns for track in decoded.tracks]
    assert decode_once(source, 44100, tmp_path / "decoded") == decoded
    assert [Path(track.path).stat().st_mtime_ns for track in decoded.tracks] == times


def test_refused_data(tmp_path: Path, data: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.wav").write_text("no audio")
    for folder, message in {
        "missing": "no such folder",
        "empty": "no audio files",
        "bad": "none of 1 audio files can be read; the first: .*not audio",
    }.items():
        with pytest.raises(InputError, match=message):
            index_folder(tmp_path / folder, 1.0, tmp_path)
    with pytest.raises(InputError, match=r"every file is shorter than a crop of 11.34 s; set crop_frames lower"):
        Crops([index_folder(data, 1.0, tmp_path)], 44100, 500_000, seed=0, min_rms=0.001)
    with pytest.raises(InputError, match="must be a positive number"):
        parse_source("music=much")
    assert parse_source("music=0.5") == (Path("music"), 0.5)
    assert parse_source("music") == (Path("music"), 1.0)


# --------------------------------------------------------------------------- runs


def test_stop_and_resume_is_the_straight_run(data: Path, tmp_path: Path) -> None:
    assert _train(data, tmp_path / "straight") == 6
    assert _train(data, tmp_path / "stopped", max_minutes=0) == 1
    assert _train(data, tmp_path / "stopped", max_minutes=0) == 2
    workers = replace(CONFIG, recipe=replace(RECIPE, workers=1))  # with any number of workers
    assert _train(data, tmp_path / "stopped", workers) == 6
    one, two = _state(tmp_path / "straight"), _state(tmp_path / "stopped")
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert read_state(tmp_path / "stopped" / "last.pt")["num_seen"] == 24


def test_a_run_learns_and_reports(data: Path, tmp_path: Path) -> None:
    recipe = replace(RECIPE, iterations=30, validate_every=10)
    _train(data, tmp_path / "run", replace(CONFIG, recipe=recipe), validation=data)
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    assert [line["iteration"] for line in steps] == list(range(1, 31))
    for key in ("lr", "gradient_norm", "latent_spread", "crops_per_second", "waiting_for_data", "num_seen"):
        assert all(math.isfinite(line[key]) for line in steps)
    first, last = (np.mean([line["spectral"] for line in part]) for part in (steps[:5], steps[-5:]))
    assert last < first
    checks = [line["validation/spectral_distance"] for line in lines if "validation/spectral_distance" in line]
    assert len(checks) == 3
    assert checks[-1] < checks[0]
    board = EventMultiplexer().AddRunsFromDirectory(str(tmp_path / "run" / "tensorboard")).Reload()
    for plugin, shown in (
        ("scalars", {"loss", "lr", "gradient_norm", "latent_spread", "validation/spectral_distance"}),
        ("audio", {"clip 0/original", "clip 0/reconstruction"}),
        ("images", {"spectrogram 0/original", "spectrogram 0/reconstruction"}),
    ):  # a tag belongs to the first plugin that writes it; what another writes under it is never shown
        assert shown <= set(board.PluginRunToTagToContent(plugin)["."])
    assert (tmp_path / "run" / "best.pt").exists()


def test_a_flattened_model_learns_as_its_many_parameters() -> None:
    many, one = (Autoencoder(SMALL).to(memory_format=torch.channels_last) for _ in range(2))  # type: ignore[call-overload]
    initialise(many, RECIPE)
    one.load_state_dict(many.state_dict())
    flat = flattened(one)
    optimizers = [torch.optim.RAdam(many.parameters(), lr=1e-2), torch.optim.RAdam([flat], lr=1e-2)]
    audio = torch.from_numpy(sound(2, 6000))
    for _ in range(7):  # the sixth is the first that RAdam rectifies
        for model, optimizer in zip((many, one), optimizers, strict=True):
            optimizer.zero_grad(set_to_none=False)
            model.encoder(spectrogram(audio, SMALL.hop_length)).square().sum().backward()
            optimizer.step()
    for (name, a), b in zip(many.named_parameters(), one.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6, msg=name)


def test_accumulated_passes_are_one_batch(data: Path, tmp_path: Path) -> None:
    _train(data, tmp_path / "whole")
    _train(data, tmp_path / "parts", replace(CONFIG, recipe=replace(RECIPE, accumulate=2)))
    one, two = _state(tmp_path / "whole"), _state(tmp_path / "parts")
    assert all(torch.allclose(one[key], two[key], rtol=1e-3, atol=1e-4) for key in one)


def _command(data: Path, run: Path, *settings: str) -> list[str]:
    values = CONFIG.to_dict()["training"] | dict(setting.split("=") for setting in settings)
    model = {key: value for key, value in SMALL.to_dict().items() if value != OFFICIAL.to_dict()[key]}
    options = [
        f"--set={key}={json.dumps(value) if not isinstance(value, str) else value}" for key, value in values.items()
    ]
    options += [f"--set=model.{key}={value}" for key, value in model.items()]
    path = str(ROOT / "configs" / "official.toml")
    return ["-m", "music2latent", "train", path, f"--data={data}", f"--output={run}", *options]


def test_two_processes_are_one_with_twice_the_batch(data: Path, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, *_command(data, tmp_path / "two")], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    _train(data, tmp_path / "one")
    one, two = _state(tmp_path / "one"), _state(tmp_path / "two")
    assert all(torch.allclose(one[key], two[key], rtol=1e-3, atol=1e-4) for key in one)
    assert read_state(tmp_path / "two" / "last.pt")["num_seen"] == 24


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_run_goes_on(data: Path, tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C save first; after SIGKILL, at whatever moment, the last whole checkpoint is there.

    They go to the whole group, as terminals and schedulers send them: to the processes that read data as well.
    """
    run = tmp_path / "run"
    command = [sys.executable, *_command(data, run, "iterations=100000", "workers=2")]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]
    while not (run / "last.pt").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (-9 if number == signal.SIGKILL else 0), said
    reached = read_state(run / "last.pt")["iteration"]
    assert reached >= 1
    config = replace(CONFIG, recipe=replace(RECIPE, iterations=reached + 2))
    assert _train(data, run, config) == reached + 2


def test_two_runs_on_one_folder(data: Path, tmp_path: Path) -> None:
    from music2latent.training.loop import locked

    with locked(tmp_path / "run"), pytest.raises(InputError, match="another run is training there"):
        _train(data, tmp_path / "run")


def test_another_configuration_is_refused(data: Path, tmp_path: Path) -> None:
    _train(data, tmp_path / "run", max_minutes=0)
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(InputError, match=r"training.lr was 0.001, now 0.5; choose another --output"):
        _train(data, tmp_path / "run", replace(CONFIG, recipe=replace(RECIPE, lr=0.5)))
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True) | {"version": 2}
    torch.save(state, tmp_path / "run" / "last.pt")
    with pytest.raises(InputError, match="written by version 2 of the trainer, this one reads 1"):
        _train(data, tmp_path / "run")
    (tmp_path / "run" / "last.pt").write_bytes(before[:1000])
    with pytest.raises(InputError, match="damaged, or not a training checkpoint"):
        _train(data, tmp_path / "run")


def test_full_disk_keeps_the_last_checkpoint(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _train(data, run, max_minutes=0)
    before = (run / "last.pt").read_bytes()
    with disk_with(50_000), pytest.raises(InputError, match=r"last.pt: cannot be written"):
        _train(data, run)
    assert (run / "last.pt").read_bytes() == before
    assert not list(run.glob(".*partial*"))
    assert _train(data, run) == 6


def test_steps_that_are_not_finite_are_skipped_and_then_stop_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, calls = ConsistencyTraining.forward, []

    def broken(self: ConsistencyTraining, audio: torch.Tensor, *rest: torch.Tensor) -> object:
        calls.append(1)
        return forward(self, audio * (math.nan if len(calls) in broken_calls else 1), *rest)

    monkeypatch.setattr(ConsistencyTraining, "forward", broken)
    broken_calls = {2, 3}
    assert _train(data, tmp_path / "run", replace(CONFIG, recipe=replace(RECIPE, max_bad_steps=3))) == 6
    assert all(torch.isfinite(value).all() for value in _state(tmp_path / "run").values())
    lines = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert sum(line["skipped_steps"] for line in lines) == 2
    calls.clear()
    broken_calls = set(range(2, 100))
    with pytest.raises(InputError, match="stopped at iteration 4: 3 steps in a row"):
        _train(data, tmp_path / "other", replace(CONFIG, recipe=replace(RECIPE, max_bad_steps=3)))
    assert read_state(tmp_path / "other" / "last.pt")["iteration"] == 1


def test_collapse_is_said(data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _train(data, tmp_path / "run", replace(CONFIG, recipe=replace(RECIPE, iterations=1)))
    assert "collapsed" not in caplog.text
    dead = dict(Autoencoder(SMALL).state_dict())
    dead["encoder.conv_out.weight"] = torch.zeros_like(dead["encoder.conv_out.weight"])
    checkpoint = replace(reference_checkpoint("tiny"), config=SMALL, state_dict=dead)
    write_safetensors(tmp_path / "dead.safetensors", checkpoint)
    recipe = replace(RECIPE, iterations=1, lr=1e-9, final_lr=1e-9)
    _train(data, tmp_path / "two", replace(CONFIG, recipe=recipe), init_from=str(tmp_path / "dead.safetensors"))
    assert "the encoder has collapsed" in caplog.text


def test_fine_tuning_from_a_published_checkpoint(data: Path, tmp_path: Path) -> None:
    weights = dict(reference_checkpoint("tiny").state_dict)
    torch.save({"gen_state_dict": weights}, tmp_path / "published.pt")
    model = replace(PRESETS["tiny"], heads=4)
    config = TrainingConfig(model, replace(RECIPE, iterations=1, batch_size=1, lr=1e-9, final_lr=1e-9))
    train(config, [(data, 1.0)], tmp_path / "run", init_from=str(tmp_path / "published.pt"))
    state = _state(tmp_path / "run")
    assert all(torch.allclose(state[f"model.{key}"], weight, atol=1e-6) for key, weight in weights.items())
    with pytest.raises(
        InputError, match=r"a model of another configuration: layers_list .*hop_length 512 instead of 64"
    ):
        _train(data, tmp_path / "other", init_from=str(tmp_path / "published.pt"))


def test_export(data: Path, tmp_path: Path) -> None:
    _train(data, tmp_path / "run")
    done = Result("export-weights", tmp_path / "run", tmp_path / "out.safetensors", "--half")
    assert done.code == 0, done.err
    exported = read_checkpoint(tmp_path / "out.safetensors")
    ema = read_state(tmp_path / "run" / "last.pt")["ema"]
    assert all(torch.equal(w, ema[f"module.{key}"].half()) for key, w in exported.state_dict.items())
    assert "trained 6 iterations, 24 crops" in exported.provenance
    from music2latent.spectrogram import frame

    crops = Crops([index_folder(data, 1.0, tmp_path)], 44100, CONFIG.crop_samples, seed=0, min_rms=0.001)
    model = load_model(tmp_path / "out.safetensors")
    with torch.no_grad():
        latents = torch.cat([model.encode(frame(crops[i][None], SMALL.hop_length)) for i in range(64)])
    scaled = latents / exported.latent_scale
    assert scaled.square().mean().sqrt().item() == pytest.approx(1, abs=0.1)
    assert exported.latent_mean == pytest.approx(latents.mean((0, 2)).tolist(), abs=0.1)
    assert "[training]" in (tmp_path / "out.md").read_text()
    with pytest.raises(InputError, match=r"no such checkpoint; expected the --output folder"):
        export_weights(tmp_path, tmp_path / "b.safetensors")


def test_command_line(data: Path, tmp_path: Path) -> None:
    arguments = _command(data, tmp_path / "run")[2:]
    done = Result(*arguments, "--decode-to", tmp_path / "decoded", "--max-minutes", "0")
    assert done.code == 0, done.err
    assert done.out == f"{tmp_path}/run: at iteration 1 of 6\n"
    assert len(list((tmp_path / "decoded").iterdir())) == 3
    assert Result("train", ROOT / "configs" / "tiny.toml").code == 2
    typo = Result("train", ROOT / "configs" / "tiny.toml", "--set", "lrr=1", "--dry-run")
    assert (typo.code, len(typo.err.splitlines())) == (1, 1)
    empty = Result("train", ROOT / "configs" / "tiny.toml", "--data", tmp_path / "no", "-o", tmp_path / "r")
    assert "no such folder of audio" in empty.err
