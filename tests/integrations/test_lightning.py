"""The callbacks in real trainers, read back from TensorBoard's files."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from music2latent import EncoderDecoder, InputError
from music2latent.integrations.lightning import LogAudio, LogDecoded, LogReconstructions

from ..helpers import relative_error, sound
from .page import run_page

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning warns of every thing that is small here
PACKAGES = ["lightning.pytorch", "pytorch_lightning"]
CLIPS = torch.from_numpy(sound(4, 2560)).view(2, 2, 2560)


def fit(
    package: str, folder: Path, callback: LogAudio, codec: EncoderDecoder, logger: Any = None, **options: Any
) -> None:
    """Two steps in each of two epochs, with a module that holds the codec's networks, and a layer that is frozen."""
    pl = import_module(package)

    class Module(pl.LightningModule):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.gen, self.frozen = copy.deepcopy(codec.gen), torch.nn.Dropout()
            self.last = torch.nn.Linear(2, 1)

        def training_step(self, batch: Tensor, _: int) -> Tensor:
            assert self.last.training
            assert not self.frozen.training
            return self.last(batch).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.last.parameters(), 0.1)

    module = Module()
    module.frozen.eval()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[callback],
        logger=import_module(f"{package}.loggers").TensorBoardLogger(folder, "", "") if logger is None else logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **options,
    )
    batches: Any = [torch.ones(2)] * 4
    trainer.fit(module, torch.utils.data.DataLoader(batches, batch_size=2))


def board(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def played(events: EventAccumulator, tag: str) -> tuple[list[int], np.ndarray, int]:
    """Steps of a clip, and the first as samples with their rate."""
    found = events.Audio(tag)
    return [one.step for one in found], *soundfile.read(io.BytesIO(found[0].encoded_audio_string))


@pytest.mark.parametrize("package", PACKAGES)
def test_reconstructions_are_logged(tmp_path: Path, tiny: EncoderDecoder, package: str) -> None:
    fit(package, tmp_path, LogReconstructions(CLIPS, every_n_train_steps=2), tiny)
    events = board(tmp_path)
    for number, clip in enumerate(CLIPS):
        steps, original, rate = played(events, f"clip {number}/original")
        assert (steps, rate) == ([2], 44100)
        assert relative_error(original, clip.mean(0)) < 1e-3
        steps, samples, _ = played(events, f"clip {number}/reconstruction")
        assert steps == [2, 4]
        assert relative_error(samples, tiny.reconstruct(clip, 44100).mean(0)) < 1e-2
        for name in ("original", "reconstruction"):
            image = events.Images(f"spectrogram {number}/{name}")[0]
            assert (image.width, image.height) == (512, 256)


def test_generated_latents_are_decoded(tmp_path: Path, tiny: EncoderDecoder) -> None:
    latents = torch.randn(1, 64, 3)
    callback = LogDecoded(lambda module: latents * module.last.in_features / 2, tiny, every_n_epochs=2)
    fit(PACKAGES[0], tmp_path, callback, tiny)
    steps, samples, rate = played(board(tmp_path), "clip 0/decoded")
    assert (steps, rate) == ([4], 44100)
    assert relative_error(samples, tiny.decode(latents, seed=0)[0]) < 1e-2


def test_accumulated_gradients_log_once_per_step(tmp_path: Path, tiny: EncoderDecoder) -> None:
    fit(PACKAGES[0], tmp_path, LogReconstructions(CLIPS, every_n_train_steps=1), tiny, accumulate_grad_batches=2)
    assert played(board(tmp_path), "clip 1/reconstruction")[0] == [1, 2]


def test_weights_and_biases_get_lists(tmp_path: Path, tiny: EncoderDecoder) -> None:
    calls: list[tuple[Any, ...]] = []

    class Logger(CSVLogger):
        """What `WandbLogger` has beyond others."""

        def log_audio(self, key: str, audios: list[np.ndarray], step: int, sample_rate: list[int]) -> None:
            calls.append((key, [clip.shape for clip in audios], step, sample_rate))

        def log_image(self, key: str, images: list[np.ndarray], step: int) -> None:
            calls.append((key, [image.shape for image in images], step))

    fit(PACKAGES[0], tmp_path, LogReconstructions(CLIPS, every_n_epochs=2), tiny, Logger(tmp_path))
    assert calls[:2] == [
        ("original", [(2560, 2)] * 2, 4, [44100] * 2),
        ("original/spectrogram", [(256, 512)] * 2, 4),
    ]
    assert [call[0] for call in calls[2:]] == ["reconstruction", "reconstruction/spectrogram"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogReconstructions(CLIPS), "exactly one of"),
        (lambda: LogReconstructions(CLIPS, every_n_epochs=1, every_n_train_steps=1), "exactly one of"),
        (lambda: LogReconstructions(CLIPS, every_n_epochs=0), "every_n_epochs = 0"),
        (lambda: LogReconstructions(CLIPS[0, 0], every_n_epochs=1), r"clips of shape \[2560\]"),
        (lambda: LogReconstructions(CLIPS[..., :2047], every_n_epochs=1), r"\[2, 2, 2047\]; .*n at least 2048"),
        (lambda: LogReconstructions(CLIPS * float("nan"), every_n_epochs=1), "NaN or infinite"),
    ],
)
def test_refusals(make: Callable[[], LogAudio], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_refusals_when_training_starts(tmp_path: Path, tiny: EncoderDecoder) -> None:
    callback = LogReconstructions(CLIPS, every_n_epochs=1)
    for logger, names in ((False, "there is none"), (CSVLogger(tmp_path), "CSVLogger")):
        with pytest.raises(InputError, match=rf"no logger that takes audio \({names}\)"):
            fit(PACKAGES[0], tmp_path, callback, tiny, logger)
    tiny_without = type("Nothing", (), {"gen": torch.nn.Linear(1, 1)})()
    with pytest.raises(InputError, match=r"Module holds no Autoencoder; make codec.gen an attribute"):
        fit(PACKAGES[0], tmp_path, callback, tiny_without)


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page("Lightning")
    events = board(tmp_path / "runs/lightning_logs/version_0")
    assert set(events.Tags()["audio"]) == {
        *(f"clip {number}/{name}" for number in (0, 1) for name in ("original", "reconstruction", "decoded"))
    }
