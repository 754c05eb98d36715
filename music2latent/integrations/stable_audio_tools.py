"""Music2Latent as a pretransform of stable-audio-tools, whose diffusion models then work on its latents."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from ..arrays import as_float
from ..batch_coding import BatchCoding
from ..checkpoint import Checkpoint
from ..errors import InputError, whole_number
from ..extras import require_packages
from ..latents import as_values
from ..pretrained import load_checkpoint

require_packages(["stable_audio_tools"], "pip install stable-audio-tools")
from stable_audio_tools.models.pretransforms import Pretransform  # noqa: E402


class Music2LatentPretransform(Pretransform):
    """Audio `[B, C, n]` <-> latents `[B, C * D, n / 4096]`: each channel's latents below those of the one before.

    Latent i is centred on samples [4096 i, 4096 (i + 1)), and has about unit variance, so that there is no `scale` to
    set. `io_channels` of the diffusion model is `encoded_channels` here, 128 for stereo; its `sample_rate` must be this
    one's.

    Args:
        model: a name or path as in `EncoderDecoder(model=...)`, or a `Checkpoint`.
        channels: of the audio.
        num_steps: network passes of `decode`.
        seed: of the noise that `decode` starts from.
        enable_grad: whether the codec's weights are trained along; stable-audio-tools then calls it with gradients.

    Raises:
        InputError: an unknown model, or numbers out of range.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Checkpoint | None = None,
        *,
        channels: int = 2,
        num_steps: int = 1,
        seed: int = 0,
        enable_grad: bool = False,
    ) -> None:
        super().__init__(enable_grad, whole_number("channels", channels), is_discrete=False)
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        config = checkpoint.config
        self.model = checkpoint.build().float().requires_grad_(enable_grad)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the layout for fast convolutions
        self.coding = BatchCoding(
            model=self.model,
            latent_scale=checkpoint.latent_scale,
            chunk_plan=checkpoint.chunk_plan,
            lead=config.edge // 2,
        )
        self.sample_rate, self.downsampling_ratio = config.sample_rate, config.frame_size
        self.encoded_channels = channels * config.latent_dim
        self.num_steps = whole_number("num_steps", num_steps)
        self.seed = whole_number("seed", seed, low=0)

    def encode(self, x: Tensor) -> Tensor:
        """Audio `[B, C, n]` in [-1, 1], n a multiple of 4096 -> latents `[B, C * D, n / 4096]`.

        Raises:
            InputError: another shape or length, or samples that are not finite.
        """
        samples = as_float(x)
        if samples.ndim != 3 or samples.shape[1] != self.io_channels or samples.shape[2] % self.downsampling_ratio:
            raise InputError(
                f"audio of shape {list(samples.shape)}; expected [B, {self.io_channels}, n], "
                f"n a multiple of {self.downsampling_ratio}"
            )
        return self.coding.encode(samples.flatten(0, 1)).unflatten(0, (-1, self.io_channels)).flatten(1, 2)

    def decode(self, z: Tensor) -> Tensor:
        """Latents `[B, C * D, L]` -> audio `[B, C, 4096 L]` in [-1, 1].

        Raises:
            InputError: another shape, or values that are not finite.
        """
        values = as_values(z, self.encoded_channels)
        if values.ndim != 3:
            raise InputError(f"latents of shape {list(values.shape)}; expected [B, {self.encoded_channels}, L]")
        latents = values.unflatten(1, (self.io_channels, -1)).flatten(0, 1)
        num_samples = self.coding.num_samples(latents.shape[-1])
        audio = self.coding.decode(latents, num_samples, num_steps=self.num_steps, seed=self.seed)
        return audio.unflatten(0, (-1, self.io_channels))
