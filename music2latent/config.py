"""What defines a model: a frozen dataclass, its presets, and its JSON form."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import InputError

DEFAULT_MODEL = "mini"
"""The model that is loaded where none is named."""


def check_keys(where: str, what: str, keys: Iterable[str], known: Collection[str]) -> None:
    """Refuse keys that are not known, naming the nearest one that is.

    Raises:
        InputError: at the first such key.
    """
    for key in keys:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{where}: unknown {what} {key!r}{hint}")


def checked(where: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values, each brought to the type of its default: a whole number will do for a float, a list for a tuple.

    Raises:
        InputError: an unknown key, or a value of another type.
    """
    check_keys(where, "key", values, defaults)

    def fits(value: Any, default: Any) -> bool:
        if isinstance(default, tuple):
            return isinstance(value, (list, tuple)) and all(type(item) is int for item in value)
        return type(value) in ((int, float) if isinstance(default, float) else (type(default),))

    for key, value in values.items():
        if not fits(value, defaults[key]):
            raise InputError(f"{where}: {key} = {value!r}, expected the kind of {defaults[key]!r}")
    return {key: type(defaults[key])(value) for key, value in values.items()}


def plain(config: Any) -> dict[str, Any]:
    """A dataclass of settings as plain JSON types; the inverse of `checked`."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(config).items()}


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that fixes the shapes and the arithmetic of a model. The defaults are the official model's."""

    base_channels: int = 64
    """Width of level 0; level i is `base_channels * multipliers_list[i]` wide."""
    multipliers_list: tuple[int, ...] = (1, 2, 4, 4, 4)
    """Width multiplier of every level; its length is the number of levels."""
    layers_list: tuple[int, ...] = (2, 2, 2, 2, 2)
    """Residual blocks per level of the denoiser, on its way down and again on its way up."""
    attention_list: tuple[int, ...] = (0, 0, 1, 1, 1)
    """1 where the denoiser's blocks of that level attend over frequency."""
    layers_list_encoder: tuple[int, ...] = (1, 1, 1, 1, 1)
    """Residual blocks per level of the encoder and of the upsampler."""
    attention_list_encoder: tuple[int, ...] = (0, 0, 1, 1, 1)
    """1 where the encoder's and the upsampler's blocks of that level attend over frequency."""
    freq_downsample_list: tuple[int, ...] = (1, 0, 0, 0)
    """Between level i and i + 1: 1 halves nothing in time and quarters frequency, 0 halves both."""
    bottleneck_base_channels: int = 512
    """Width of the one-dimensional middle of encoder and upsampler."""
    num_bottleneck_layers: int = 4
    """Residual blocks of that middle."""
    cond_channels: int = 256
    """Width of the noise-level embedding."""
    heads: int = 4
    """Attention heads."""
    latent_dim: int = 64
    """Channels of the latents."""
    sample_rate: int = 44100
    """Rate in Hz that the model was trained at."""
    hop_length: int = 512
    """Samples from one column of the spectrogram to the next; its windows are four hops long."""
    sigma_min: float = 0.002
    """Lowest noise level: there the denoiser is the identity."""
    sigma_max: float = 80.0
    """Highest noise level: decoding starts there."""
    sigma_data: float = 0.5
    """Assumed standard deviation of the spectrograms."""
    sigma_floor: float = 0.0
    """Sampling in several steps stays above this noise level: below it the model was not trained. 0: sigma_min."""
    rho: float = 7.0
    """Curvature of the schedule of noise levels."""

    def __post_init__(self) -> None:
        levels = len(self.multipliers_list)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (list, tuple)):
                continue
            object.__setattr__(self, field.name, tuple(value))
            expected = levels - 1 if field.name == "freq_downsample_list" else levels
            if len(value) != expected:
                raise InputError(
                    f"model configuration: {field.name} has {len(value)} entries, "
                    f"{levels} levels (the length of multipliers_list) need {expected}"
                )

    @property
    def n_fft(self) -> int:
        """Samples in one spectrogram window."""
        return 4 * self.hop_length

    @property
    def bins(self) -> int:
        """Frequency bins of the spectrogram (the Nyquist bin is dropped)."""
        return self.n_fft // 2

    @property
    def channels(self) -> tuple[int, ...]:
        """Width of every level."""
        return tuple(self.base_channels * multiplier for multiplier in self.multipliers_list)

    @property
    def bottom_bins(self) -> int:
        """Frequency bins left at the deepest level."""
        bins = self.bins
        for freq_only in self.freq_downsample_list:
            bins //= 4 if freq_only else 2
        return bins

    @property
    def feature_dim(self) -> int:
        """Channels of the encoder's features: width times bins at the deepest level."""
        return self.channels[-1] * self.bottom_bins

    @property
    def columns_per_latent(self) -> int:
        """Columns of the spectrogram that one latent stands for."""
        return 1 << self.freq_downsample_list.count(0)

    @property
    def frame_size(self) -> int:
        """Samples that one latent stands for."""
        return self.hop_length * self.columns_per_latent

    @property
    def frame_rate(self) -> float:
        """Latents per second."""
        return self.sample_rate / self.frame_size

    @property
    def edge(self) -> int:
        """Samples at either end of a spectrogram that fewer than four windows cover, so that they fade (1536)."""
        return self.n_fft - self.hop_length

    def to_dict(self) -> dict[str, Any]:
        """The configuration as plain JSON types."""
        return plain(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`. Missing keys take the official model's values.

        Raises:
            InputError: an unknown key (the nearest known one is named) or a value of the wrong type.
        """
        return cls(**checked("model configuration", values, dataclasses.asdict(cls())))


PRESETS: dict[str, ModelConfig] = {
    "official": ModelConfig(),
    "mini": ModelConfig(
        base_channels=16,
        multipliers_list=(1, 1, 2, 4, 8),
        layers_list=(1, 1, 1, 1, 1),
        attention_list=(0, 0, 0, 1, 1),
        attention_list_encoder=(0, 0, 0, 1, 1),
        bottleneck_base_channels=256,
        heads=2,
        sigma_floor=20.0,
    ),
    "tiny": ModelConfig(
        base_channels=8,
        multipliers_list=(1, 2, 2, 4, 4),
        layers_list=(1, 2, 1, 1, 1),
        bottleneck_base_channels=32,
        num_bottleneck_layers=2,
        cond_channels=32,
        heads=2,
    ),
}
"""`official`: the official model, 58.19 M parameters. `mini`: the bundled one. `tiny`: for tests."""
