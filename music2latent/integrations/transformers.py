"""Music2Latent as a Hugging Face `transformers` model. Importing this module makes `AutoConfig`, `AutoModel` and
`AutoFeatureExtractor` know it.

    from music2latent.integrations.transformers import Music2LatentModel

    model = Music2LatentModel.from_codec("mini")
    model.save_pretrained(folder)  # AutoModel.from_pretrained(folder) and EncoderDecoder(model=folder) read it
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..arrays import as_float
from ..autoencoder import Autoencoder
from ..batch_coding import BatchCoding
from ..checkpoint import Checkpoint, write_safetensors
from ..chunks import ChunkPlan
from ..config import ModelConfig
from ..errors import InputError, whole_number
from ..extras import require
from ..hub import MODEL_FILE
from ..latents import as_values
from ..pretrained import load_checkpoint

require("transformers")
from transformers import (  # noqa: E402  # noqa: E402, I001
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    EncodecFeatureExtractor,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.utils import ModelOutput  # noqa: E402

MODEL_FIELDS = [field.name for field in dataclasses.fields(ModelConfig)]
FACTS = [field.name for field in dataclasses.fields(Checkpoint) if field.name not in ("config", "state_dict")]


class Music2LatentConfig(PretrainedConfig):
    """The fields of `ModelConfig`, of which missing ones are the official model's, and the facts of a `Checkpoint`.

    `sampling_rate` is another name of `sample_rate`.
    """

    model_type = "music2latent"
    attribute_map = {"sampling_rate": "sample_rate"}  # noqa: RUF012

    def __init__(
        self,
        *,
        model_id: str = "music2latent",
        latent_scale: float = 1.0,
        latent_mean: Iterable[float] = (),
        latent_std: Iterable[float] = (),
        latents_of: Iterable[str] = (),
        chunk_plan: Mapping[str, int] | None = None,
        provenance: str = "",
        license: str = "",
        **settings: Any,
    ) -> None:
        model = ModelConfig.from_dict({name: settings.pop(name) for name in MODEL_FIELDS if name in settings})
        self.model_id, self.provenance, self.license = model_id, provenance, license
        self.latent_scale, self.latent_mean, self.latent_std = latent_scale, list(latent_mean), list(latent_std)
        self.latents_of = list(latents_of)
        self.chunk_plan = dict(chunk_plan) if chunk_plan else None
        super().__init__(**model.to_dict(), **settings)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> Music2LatentConfig:
        """The configuration of a model as this package stores it."""
        plan = dataclasses.asdict(checkpoint.chunk_plan) if checkpoint.chunk_plan else None
        facts = {name: getattr(checkpoint, name) for name in FACTS}
        return cls(**checkpoint.config.to_dict(), **facts | {"chunk_plan": plan})

    def to_checkpoint(self, weights: Mapping[str, Tensor]) -> Checkpoint:
        """The model as this package stores it.

        Raises:
            InputError: weights that do not fit.
        """
        facts = {name: getattr(self, name) for name in FACTS}
        facts |= {name: tuple(facts[name]) for name in ("latent_mean", "latent_std", "latents_of")}
        return Checkpoint(config=self.model, state_dict=weights, **facts | {"chunk_plan": self.plan})

    @property
    def model(self) -> ModelConfig:
        """What fixes the networks."""
        return ModelConfig.from_dict({name: getattr(self, name) for name in MODEL_FIELDS})

    @property
    def plan(self) -> ChunkPlan | None:
        """Chunks that the model works best in."""
        return ChunkPlan(**self.chunk_plan) if self.chunk_plan else None


@dataclass
class Music2LatentEncoderOutput(ModelOutput):  # noqa: D101
    latents: Tensor | None = None
    """`[B, C, D, L]` float32, about unit variance."""


@dataclass
class Music2LatentDecoderOutput(ModelOutput):  # noqa: D101
    audio_values: Tensor | None = None
    """`[B, C, n]` float32 in [-1, 1]."""


@dataclass
class Music2LatentOutput(ModelOutput):  # noqa: D101
    latents: Tensor | None = None
    """`[B, C, D, L]` float32, about unit variance."""
    audio_values: Tensor | None = None
    """`[B, C, n]` float32 in [-1, 1], n as in the input."""


class Music2LatentModel(PreTrainedModel):
    """Audio `[B, C, n]` to latents `[B, C, D, L]` and back, at the model's sample rate, every channel by itself.

    The latents are those of `EncoderDecoder.compress`, L = ceil((n + 1536) / 4096), and audio comes back as long as it
    was. The weights, in any dtype, have the names of this package; gradients flow unless `torch.no_grad` stops them.
    """

    config_class = Music2LatentConfig
    base_model_prefix = "music2latent"
    main_input_name = "input_values"
    input_modalities = "audio"

    def __init__(self, config: Music2LatentConfig) -> None:
        super().__init__(config)
        autoencoder = Autoencoder(config.model)
        for name, module in autoencoder.named_children():  # registered here, so that keys are without a prefix
            self.add_module(name, module)
        self.coding = BatchCoding(
            model=autoencoder,
            latent_scale=config.latent_scale,
            chunk_plan=config.plan,
            lead=autoencoder.config.edge,
        )
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Nothing: the networks start with initial values of their own."""

    @classmethod
    def from_pretrained(cls, *args: Any, output_loading_info: bool = False, **options: Any) -> Any:
        """As in `PreTrainedModel`, but for weights that are missing, which would stay as memory happened to be.

        Raises:
            InputError: weights are missing.
        """
        model, info = super().from_pretrained(*args, output_loading_info=True, **options)
        if missing := sorted(info["missing_keys"]):
            raise InputError(f"{model.name_or_path}: {len(missing)} weights are missing, among them {missing[0]}")
        return (model, info) if output_loading_info else model

    @classmethod
    def from_codec(cls, model: str | os.PathLike[str] | Checkpoint | None = None) -> Music2LatentModel:
        """A float32 model from what `EncoderDecoder(model=...)` takes: a name, a path, or a `Checkpoint`.

        Raises:
            InputError: an unknown name, or a file that is not a usable model.
        """
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model)
        new = cls(Music2LatentConfig.from_checkpoint(checkpoint))
        new.load_state_dict(checkpoint.state_dict)
        return new.eval()

    def to_checkpoint(self, state_dict: Mapping[str, Tensor] | None = None) -> Checkpoint:
        """The model for `EncoderDecoder(model=...)`, with the weights as they are now or those given."""
        return self.config.to_checkpoint(self.state_dict() if state_dict is None else state_dict)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: Mapping[str, Tensor] | None = None,
        **options: Any,
    ) -> None:
        """As in `PreTrainedModel`, and `EncoderDecoder(model=save_directory)` reads it too: our file has the same
        tensors, and in its metadata what that needs.

        Raises:
            InputError: `push_to_hub=True`, or a place that cannot be written.
        """
        if options.get("push_to_hub"):
            raise InputError("save_pretrained(push_to_hub=True) is not supported; call model.push_to_hub(repo_id)")
        super().save_pretrained(save_directory, is_main_process, state_dict, **options)
        if is_main_process:
            write_safetensors(Path(save_directory) / MODEL_FILE, self.to_checkpoint(state_dict))

    def encode(self, input_values: Tensor, padding_mask: Tensor | None = None, return_dict: bool | None = None) -> Any:
        """Audio -> latents, a `Music2LatentEncoderOutput`.

        Args:
            input_values: `[B, C, n]` in [-1, 1].
            padding_mask: `[B, n]` or `[B, C, n]`, ones for samples and then zeros for padding, as the feature extractor
                makes it. An item's latents are those that it has without padding, and zeros after them.
            return_dict: False for a tuple.

        Raises:
            InputError: another shape, samples that are not finite, or a mask with padding before samples.
        """
        samples = as_float(input_values).to(self.device)
        if samples.ndim != 3:
            raise InputError(f"input_values of shape {list(samples.shape)}; expected [B, C, n]")
        dim, coding = self.coding.model.config.latent_dim, self.coding
        latents = samples.new_zeros(*samples.shape[:2], dim, coding.num_latents(samples.shape[-1]))
        for length, items in _by_length(samples, padding_mask).items():
            found = coding.encode(samples[items, :, :length].flatten(0, 1))
            latents[items, ..., : found.shape[-1]] = found.unflatten(0, (len(items), -1))
        return Music2LatentEncoderOutput(latents) if self._as_record(return_dict) else (latents,)

    def decode(
        self,
        latents: Tensor,
        padding_mask: Tensor | None = None,
        num_steps: int = 1,
        seed: int = 0,
        return_dict: bool | None = None,
    ) -> Any:
        """Latents -> audio, a `Music2LatentDecoderOutput`.

        Args:
            latents: `[B, C, D, L]`.
            padding_mask: that of the audio, which then comes back at its length, padding as zeros; without it come the
                4096 L - 1536 samples that so many latents hold at most.
            num_steps: network passes.
            seed: of the noise that decoding starts from.
            return_dict: False for a tuple.

        Raises:
            InputError: another shape, values that are not finite, a mask that does not fit, or numbers out of range.
        """
        coding = self.coding
        values = as_values(latents, coding.model.config.latent_dim)
        if values.ndim != 4:
            raise InputError(f"latents of shape {list(values.shape)}; expected [B, C, D, L]")
        num_steps, seed = whole_number("num_steps", num_steps), whole_number("seed", seed, low=0)
        num_samples = coding.num_samples(values.shape[-1]) if padding_mask is None else padding_mask.shape[-1]
        audio = values.new_zeros(*values.shape[:2], num_samples, dtype=torch.float32)
        if coding.num_latents(num_samples) > values.shape[-1]:
            raise InputError(f"padding_mask of {num_samples} samples; {values.shape[-1]} latents hold fewer")
        for length, items in _by_length(audio, padding_mask).items():
            kept = values[items, ..., : coding.num_latents(length)].flatten(0, 1)
            found = coding.decode(kept, length, num_steps=num_steps, seed=seed)
            audio[items, :, :length] = found.unflatten(0, (len(items), -1))
        return Music2LatentDecoderOutput(audio) if self._as_record(return_dict) else (audio,)

    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        num_steps: int = 1,
        seed: int = 0,
        return_dict: bool | None = None,
    ) -> Any:
        """Audio -> its latents, and what they decode to, `[B, C, n]` as the input: a `Music2LatentOutput`.

        Arguments as in `encode` and `decode`.
        """
        (latents,) = self.encode(input_values, padding_mask, return_dict=False)
        mask = torch.ones_like(input_values[:, 0], dtype=torch.bool) if padding_mask is None else padding_mask
        (audio,) = self.decode(latents, mask, num_steps, seed, return_dict=False)
        return Music2LatentOutput(latents, audio) if self._as_record(return_dict) else (latents, audio)

    def _as_record(self, return_dict: bool | None) -> bool:
        return self.config.return_dict if return_dict is None else return_dict


def _by_length(samples: Tensor, padding_mask: Tensor | None) -> dict[int, list[int]]:
    """Items of `[B, C, n]` by their samples before the padding."""
    batch, channels, num_samples = samples.shape
    if padding_mask is None:
        return {num_samples: list(range(batch))}
    if padding_mask.shape not in ((batch, num_samples), (batch, channels, num_samples)):
        raise InputError(
            f"padding_mask of shape {list(padding_mask.shape)}; expected {[batch, num_samples]} "
            f"or {[batch, channels, num_samples]}"
        )
    mask = padding_mask.bool().view(batch, -1, num_samples)
    lengths = mask[:, 0].sum(-1)
    if not bool((mask == (torch.arange(num_samples, device=mask.device) < lengths[:, None, None])).all()):
        raise InputError("padding_mask with padding before samples, or of another length in every channel")
    found: dict[int, list[int]] = {}
    for item, length in enumerate(lengths.tolist()):
        found.setdefault(whole_number("an item's number of samples", length), []).append(item)
    return found


AutoConfig.register(Music2LatentConfig.model_type, Music2LatentConfig, exist_ok=True)
AutoModel.register(Music2LatentConfig, Music2LatentModel, exist_ok=True)
AutoFeatureExtractor.register(Music2LatentConfig, EncodecFeatureExtractor, exist_ok=True)
