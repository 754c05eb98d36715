"""Lightning callbacks that let a run be heard: fixed clips and what a model in training makes of them, or latents that
it generates, decoded. For `lightning` and `pytorch_lightning`, and for TensorBoard and Weights & Biases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypedDict, Unpack

import torch
from torch import Tensor

from ..arrays import as_float
from ..autoencoder import Autoencoder
from ..batch_coding import BatchCoding
from ..chunks import ChunkPlan
from ..codec import EncoderDecoder
from ..errors import InputError, whole_number
from ..extras import require
from ..latents import as_values
from ..stft import picture

require("lightning")
from pytorch_lightning import Callback  # noqa: E402

HOP_LENGTH = 512
"""Samples between columns of the spectrograms, whose windows are four times as long."""


class Interval(TypedDict, total=False):
    """When to log; exactly one of the two."""

    every_n_train_steps: int
    """Once per so many updates of the weights."""
    every_n_epochs: int
    """At the end of every so many epochs."""


class LogAudio(Callback, ABC):
    """Logs what `make`, which a subclass defines, makes of the module in training, as sound and as spectrograms, to
    every logger that takes audio.

    Args:
        sample_rate: of that audio, in Hz.
        interval: `every_n_train_steps` or `every_n_epochs`.

    Raises:
        InputError: both intervals or none; when training starts, no logger that takes audio.
    """

    def __init__(self, sample_rate: int, **interval: Unpack[Interval]) -> None:
        if len(interval) != 1:
            raise InputError("exactly one of every_n_train_steps and every_n_epochs is needed")
        self.sample_rate = sample_rate
        self.interval = {name: whole_number(name, value) for name, value in interval.items()}
        self._last_step = 0  # several batches have the same one where gradients are accumulated

    @abstractmethod
    def make(self, module: Any) -> dict[str, Tensor]:
        """From the module, which is in evaluation mode, to clips `[N, C, n]` under their names. No gradients."""

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        if not any(map(_writer, trainer.loggers)):
            names = ", ".join(type(logger).__name__ for logger in trainer.loggers) or "there is none"
            raise InputError(f"no logger that takes audio ({names}); use TensorBoardLogger or WandbLogger")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        step, steps = trainer.global_step, self.interval.get("every_n_train_steps")
        if steps and step != self._last_step and step % steps == 0:
            self._log(trainer, pl_module)
        self._last_step = step

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        epochs = self.interval.get("every_n_epochs")
        if epochs and (trainer.current_epoch + 1) % epochs == 0:
            self._log(trainer, pl_module)

    @torch.no_grad()
    def _log(self, trainer: Any, module: Any) -> None:
        if not trainer.is_global_zero:
            return
        modes = [(one, one.training) for one in module.modules()]
        module.eval()
        made = self.make(module)
        for one, mode in modes:
            one.training = mode
        for write in filter(None, map(_writer, trainer.loggers)):
            for name, clips in made.items():
                write(name, clips.float().cpu(), self.sample_rate, trainer.global_step)


class LogReconstructions(LogAudio):
    """Fixed clips, and what the module's first `Autoencoder` (`EncoderDecoder.gen`) makes of them.

    Args:
        clips: `[N, n]` or `[N, C, n]` in [-1, 1], n at least 2048.
        sample_rate: in Hz, the model's own.
        chunk_plan: chunks that long clips are cut into; by default overlapping ones of ten seconds.
        interval: `every_n_train_steps` or `every_n_epochs`.

    Raises:
        InputError: clips of another shape, or both intervals or none; when training starts, no logger that takes audio,
            or no such model.
    """

    def __init__(
        self,
        clips: Tensor,
        sample_rate: int = 44100,
        *,
        chunk_plan: ChunkPlan | None = None,
        **interval: Unpack[Interval],
    ) -> None:
        super().__init__(sample_rate, **interval)
        samples = as_float(clips)
        if samples.ndim not in (2, 3) or samples.shape[-1] < 4 * HOP_LENGTH:
            raise InputError(
                f"clips of shape {list(samples.shape)}; expected [N, n] or [N, C, n], n at least {4 * HOP_LENGTH}"
            )
        self.clips = samples if samples.ndim == 3 else samples[:, None]
        self.chunk_plan = chunk_plan
        self._originals_logged = False

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_fit_start(trainer, pl_module)
        _autoencoder(pl_module)

    def make(self, module: Any) -> dict[str, Tensor]:
        model, (_, channels, num_samples) = _autoencoder(module), self.clips.shape
        coding = BatchCoding(model=model, latent_scale=1.0, chunk_plan=self.chunk_plan, lead=model.config.edge)
        latents = coding.encode(self.clips.to(model.device).flatten(0, 1))
        audio = coding.decode(latents, num_samples, num_steps=1, seed=0)
        made = {"reconstruction": audio.unflatten(0, (-1, channels))}
        if not self._originals_logged:
            made, self._originals_logged = {"original": self.clips} | made, True
        return made


class LogDecoded(LogAudio):
    """Latents that the module generates, decoded.

    Args:
        sample: from the module to latents `[N, D, L]` or `[N, C, D, L]`: `lambda module: module.sample(4)`, or
            `lambda module: module.last_latents` for what its validation step has put there.
        codec: what decodes them.
        interval: `every_n_train_steps` or `every_n_epochs`.

    Raises:
        InputError: both intervals or none; when training starts, no logger that takes audio.
    """

    def __init__(self, sample: Callable[[Any], Tensor], codec: EncoderDecoder, **interval: Unpack[Interval]) -> None:
        super().__init__(codec.sample_rate, **interval)
        self.sample, self.codec = sample, codec

    def make(self, module: Any) -> dict[str, Tensor]:
        latents = as_values(self.sample(module), self.codec.latent_dim)
        audio = self.codec.decode(latents, seed=0)
        return {"decoded": audio if latents.ndim == 4 else audio[:, None]}


def _autoencoder(module: Any) -> Autoencoder:
    found = [one for one in module.modules() if isinstance(one, Autoencoder)]
    if not found:
        raise InputError(f"{type(module).__name__} holds no Autoencoder; make codec.gen an attribute of it")
    return found[0]


def _writer(logger: Any) -> Callable[[str, Tensor, int, int], None] | None:
    """What writes clips `[N, C, n]` under a name, at a rate, for a step; None for a logger without audio."""

    def to_wandb(name: str, clips: Tensor, rate: int, step: int) -> None:
        pictures = [picture(clip[0], HOP_LENGTH)[0].numpy() for clip in clips]
        logger.log_audio(name, [clip.T.numpy() for clip in clips], step=step, sample_rate=[rate] * len(clips))
        logger.log_image(f"{name}/spectrogram", pictures, step=step)

    def to_tensorboard(name: str, clips: Tensor, rate: int, step: int) -> None:
        for number, clip in enumerate(clips):
            logger.experiment.add_audio(f"clip {number}/{name}", clip.mean(0), step, rate)  # it plays one channel
            logger.experiment.add_image(f"spectrogram {number}/{name}", picture(clip[0], HOP_LENGTH), step)

    if hasattr(logger, "log_audio") and hasattr(logger, "log_image"):
        return to_wandb
    return to_tensorboard if hasattr(logger.experiment, "add_audio") else None
