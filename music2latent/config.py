"""What defines a model: a frozen dataclass, its presets, and its JSON form."""

from __future__ import annotations

import dataclasses
import difflib
import math
import reprlib
from collections.abc import Collection, Iterable, Iterator, Mapping
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
            raise InputError(f"{where}: unknown {what} {shown(key)}{hint}")


def shown(value: Any) -> str:
    """A value for a message, however long or deep it is."""
    return f"{reprlib.repr(value):.80}"


def checked(where: str, values: Any, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values, each brought to the type of its default: a whole number will do for a float, a list for a tuple.

    Raises:
        InputError: no mapping, an unknown key, or a value of another type; NaN and infinity are of none.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{where}: {shown(values)}, expected keys and values")
    check_keys(where, "key", values, defaults)

    def fits(value: Any, default: Any) -> bool:
        if isinstance(default, tuple):
            return isinstance(value, (list, tuple)) and all(fits(item, 0) for item in value)
        if type(value) is int and type(default) in (int, float):
            return abs(value) < 1 << 63
        return type(value) is type(default) and (type(value) is not float or math.isfinite(value))

    for key, value in values.items():
        if not fits(value, defaults[key]):
            raise InputError(f"{where}: {key} = {shown(value)}, expected the kind of {defaults[key]!r}")
    return {key: type(defaults[key])(value) for key, value in values.items()}


def plain(config: Any) -> dict[str, Any]:
    """A dataclass of settings as plain JSON types; the inverse of `checked`."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in dataclasses.asdict(config).items()}


def ranged(default: Any, low: float, high: float) -> Any:
    """A dataclass' field with its least and its greatest value; of a tuple, those of its entries."""
    return dataclasses.field(default=default, metadata={"range": (low, high)})


def check_ranges(where: str, config: Any) -> None:
    """Refuse values of a dataclass outside the ranges of its fields.

    Raises:
        InputError: at the first such field.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        low, high = field.metadata.get("range", (-math.inf, math.inf))
        if not all(low <= item <= high for item in (value if isinstance(value, tuple) else (value,))):
            raise InputError(f"{where}: {field.name} = {shown(value)}; accepted: {low:g} to {high:g}")


def norm_groups(channels: int) -> int:
    """Groups that so many channels are normalised in."""
    return min(channels // 4, 32)


TONE_PERIOD = 8
"""Columns after which tones half a bin apart are where they were, and so the columns that a latent must stand for."""
MOST_LEVELS = 12
MOST_LAYERS = 64
"""In `layers_list` and `layers_list_encoder` together; the official model has 15."""
MOST_PARAMETERS = 2_000_000_000
"""Of a model, roughly; the official one has 58 million."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that fixes the shapes and the arithmetic of a model. The defaults are the official model's."""

    base_channels: int = ranged(64, 4, 1024)
    """Width of level 0; level i is `base_channels * multipliers_list[i]` wide."""
    multipliers_list: tuple[int, ...] = ranged((1, 2, 4, 4, 4), 1, 64)
    """Width multiplier of every level; its length is the number of levels."""
    layers_list: tuple[int, ...] = ranged((2, 2, 2, 2, 2), 1, 8)
    """Residual blocks per level of the denoiser, on its way down and again on its way up."""
    attention_list: tuple[int, ...] = ranged((0, 0, 1, 1, 1), 0, 1)
    """1 where the denoiser's blocks of that level attend over frequency."""
    layers_list_encoder: tuple[int, ...] = ranged((1, 1, 1, 1, 1), 1, 8)
    """Residual blocks per level of the encoder and of the upsampler."""
    attention_list_encoder: tuple[int, ...] = ranged((0, 0, 1, 1, 1), 0, 1)
    """1 where the encoder's and the upsampler's blocks of that level attend over frequency."""
    freq_downsample_list: tuple[int, ...] = ranged((1, 0, 0, 0), 0, 1)
    """Between level i and i + 1: 1 halves nothing in time and quarters frequency, 0 halves both."""
    bottleneck_base_channels: int = ranged(512, 4, 16384)
    """Width of the one-dimensional middle of encoder and upsampler."""
    num_bottleneck_layers: int = ranged(4, 0, 32)
    """Residual blocks of that middle."""
    cond_channels: int = ranged(256, 4, 4096)
    """Width of the noise-level embedding."""
    heads: int = ranged(4, 1, 64)
    """Attention heads."""
    latent_dim: int = ranged(64, 1, 4096)
    """Channels of the latents."""
    sample_rate: int = ranged(44100, 1000, 768_000)
    """Rate in Hz that the model was trained at."""
    hop_length: int = ranged(512, 1, 8192)
    """Samples from one column of the spectrogram to the next; its windows are four hops long."""
    sigma_min: float = ranged(0.002, 1e-6, 10.0)
    """Lowest noise level: there the denoiser is the identity."""
    sigma_max: float = ranged(80.0, 1e-3, 1e6)
    """Highest noise level: decoding starts there."""
    sigma_data: float = ranged(0.5, 1e-3, 1e3)
    """Assumed standard deviation of the spectrograms."""
    sigma_floor: float = ranged(0.0, 0.0, 1e6)
    """Sampling in several steps stays above this noise level: below it the model was not trained. 0: sigma_min."""
    rho: float = ranged(7.0, 1.0, 100.0)
    """Curvature of the schedule of noise levels."""
    tones: bool = False
    """The encoder has the spectrogram a second time, with phases that count from the beginning of the signal, and the
    denoiser begins with steady tones, whose levels the upsampler tells (`nn.tones`). The official model has neither."""
    tone_features: bool = False
    """The encoder's features end with the levels of such tones, measured in windows of two latents."""

    def __post_init__(self) -> None:
        where = "model configuration"
        for name, value in checked(where, vars(self), _defaults()).items():
            object.__setattr__(self, name, value)
        levels = len(self.multipliers_list)
        for name, value in vars(self).items():
            expected = levels - 1 if name == "freq_downsample_list" else levels
            if isinstance(value, tuple) and len(value) != expected:
                raise InputError(
                    f"{where}: {name} has {len(value)} entries, "
                    f"{levels} levels (the length of multipliers_list) need {expected}"
                )
        check_ranges(where, self)
        for rule, kept in self._rules():
            if not kept:
                raise InputError(f"{where}: {rule}")

    def _rules(self) -> Iterator[tuple[str, bool]]:
        """What the fields must fulfil together, in the order in which one may rely on those before."""
        levels = len(self.multipliers_list)
        yield f"{levels} levels; accepted: 1 to {MOST_LEVELS}", 1 <= levels <= MOST_LEVELS
        layers = sum(self.layers_list) + sum(self.layers_list_encoder)
        yield f"{layers} residual blocks on all levels; accepted: up to {MOST_LAYERS}", layers <= MOST_LAYERS
        normalised = {*self.channels, self.bottleneck_base_channels}
        yield (
            f"widths {sorted(normalised)} cannot be normalised in groups; choose multiples of 4 up to 128, of 32 above",
            all(width % norm_groups(width) == 0 for width in normalised),
        )
        kinds = zip(self.channels, self.attention_list, self.attention_list_encoder, strict=True)
        attended = {width for width, *attention in kinds if any(attention)}
        yield (
            f"heads = {self.heads} does not divide every width with attention, {sorted(attended)}",
            all(width % self.heads == 0 for width in attended),
        )
        yield f"cond_channels = {self.cond_channels}; it must be even", self.cond_channels % 2 == 0
        divisor = math.prod(4 if freq_only else 2 for freq_only in self.freq_downsample_list)
        yield (
            f"hop_length = {self.hop_length} gives {self.bins} frequency bins, the levels need a multiple of {divisor}",
            self.bins % divisor == 0,
        )
        yield (
            f"tones or tone_features = True with {self.columns_per_latent} columns per latent; needed: {TONE_PERIOD}",
            not (self.tones or self.tone_features) or self.columns_per_latent == TONE_PERIOD,
        )
        lowest = max(self.sigma_min, self.sigma_floor)
        yield f"sigma_max = {self.sigma_max} is not above sigma_min and sigma_floor, {lowest}", self.sigma_max > lowest
        yield f"a model of more than {MOST_PARAMETERS:.0e} weights", self._rough_size() <= MOST_PARAMETERS

    def _rough_size(self) -> int:
        """Weights in the kernels of the larger convolutions, which are most of a model."""
        size = (self.deepest_dim + self.feature_dim) * self.bottleneck_base_channels
        size += 2 * self.num_bottleneck_layers * 6 * self.bottleneck_base_channels**2
        for width, layers, encoder_layers in zip(
            self.channels, self.layers_list, self.layers_list_encoder, strict=True
        ):
            size += 2 * (layers + encoder_layers) * 2 * 9 * width**2
        return size

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
    def deepest_dim(self) -> int:
        """Values of the deepest maps for each latent: width times bins."""
        return self.channels[-1] * self.bottom_bins

    @property
    def feature_dim(self) -> int:
        """Channels of the encoder's features: the deepest maps, and the levels of tones where they are measured."""
        return self.deepest_dim + self.n_fft * self.tone_features

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
            InputError: an unknown key (the nearest known one is named), or a value of the wrong type or out of range.
        """
        return cls(**checked("model configuration", values, _defaults()))


def _defaults() -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(ModelConfig)}


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
        tones=True,
        tone_features=True,
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
