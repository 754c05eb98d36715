"""What defines a training run: the model's configuration and the recipe, from a TOML file and `--set key=value`."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import PRESETS, ModelConfig, check_keys
from ..errors import InputError


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. The defaults are the published recipe (ISMIR 2024 paper, section 4)."""

    seed: int = 0
    """Seed of initial weights, crops, noise levels and noise."""
    iterations: int = 800_000
    """Optimizer steps of the whole schedule."""
    batch_size: int = 16
    """Crops per optimizer step, over all processes."""
    accumulate: int = 1
    """Passes that a step's crops are spread over, to save memory."""
    crop_frames: int = 64
    """Spectrogram frames per crop; a multiple of the model's frames per latent."""
    min_rms: float = 0.001
    """Crops quieter than this are drawn again."""
    workers: int = 2
    """Processes that read and resample."""

    lr: float = 1e-4
    """Learning rate after warm-up."""
    final_lr: float = 1e-6
    """Learning rate at the end of the cosine."""
    warmup: int = 10_000
    """Iterations of linear warm-up."""
    beta1: float = 0.9
    """RAdam's first beta."""
    beta2: float = 0.999
    """RAdam's second beta."""
    clip_norm: float = 0.0
    """Gradients are scaled down to this norm; 0 leaves them."""
    ema_decay: float = 0.9999
    """Decay of the averaged weights, reached by min(ema_decay, (1 + n) / (10 + n))."""
    init: str = "default"
    """`default`, the framework's, or `variance_preserving` (std = 1 / sqrt(fan-in)), for high learning rates."""

    P_mean: float = -1.1
    """Mean of log sigma."""
    P_std: float = 2.0
    """Standard deviation of log sigma."""
    noise_levels: int = 9999
    """Grid points of the noise level u in [0, 1]."""
    first_step: float = 0.1
    """Distance in u between the two noise levels of a pair, at the first iteration."""
    last_step: float = 0.001
    """The same at the last; exponential in between."""
    consistency_weight: float = 1.0
    """Weight of the consistency loss; 0 leaves it out: a warm start with the spectral loss alone."""
    spectral_weight: float = 0.0
    """Weight of the auxiliary loss on the magnitudes of the one-step output from sigma_max; 0 leaves it out."""
    spectral_sizes: tuple[int, ...] = (256, 512, 1024, 2048, 4096)
    """Its window lengths in samples."""
    spectral_second: float = 0.0
    """Part of the crops, 0 to 1, for which it takes a second step instead: from the model's own one-step output, with
    noise of the drawn sigma. Without it a model that this loss alone has trained decodes in one step only."""

    precision: str = "fp16"
    """`no` (float32), `fp16` or `bf16`: mixed precision. fp16 needs CUDA."""
    compile: bool = False
    """torch.compile the networks."""
    channels_last: bool = False
    """Keep the weights in channels_last layout, which is faster on most hardware."""

    log_every: int = 50
    """Iterations between lines of stats.jsonl and TensorBoard points."""
    validate_every: int = 5000
    """Iterations between validations."""
    save_every: int = 1000
    """Iterations between checkpoints."""
    max_bad_steps: int = 20
    """The run stops after so many steps in a row with a loss or gradient that is not finite."""

    def __post_init__(self) -> None:
        for name in (
            "iterations",
            "batch_size",
            "accumulate",
            "crop_frames",
            "log_every",
            "validate_every",
            "save_every",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"training configuration: {name} = {getattr(self, name)}; it must be 1 or more")
        if not 0 <= self.spectral_second <= 1:
            raise InputError(f"training configuration: spectral_second = {self.spectral_second}; accepted: 0 to 1")
        for name, accepted in {"precision": ("no", "fp16", "bf16"), "init": ("default", "variance_preserving")}.items():
            if getattr(self, name) not in accepted:
                raise InputError(
                    f"training configuration: {name} = {getattr(self, name)!r}; accepted: {', '.join(accepted)}"
                )


@dataclass(frozen=True)
class TrainingConfig:
    """A run's model and recipe."""

    model: ModelConfig = field(default_factory=ModelConfig)
    recipe: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        per_latent = self.model.frames_per_latent
        if self.recipe.crop_frames % per_latent:
            raise InputError(
                f"training configuration: crop_frames = {self.recipe.crop_frames}; "
                f"this model needs a multiple of {per_latent}"
            )

    @property
    def crop_samples(self) -> int:
        """Samples per crop, `hop_length * crop_frames + edge` (34304 in the published recipe)."""
        return self.model.hop_length * self.recipe.crop_frames + self.model.edge

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, `{"model": ..., "training": ...}`."""
        recipe = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self.recipe).items()}
        return {"model": self.model.to_dict(), "training": recipe}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """From the tables `model` (keys of `ModelConfig`, or `preset`) and `training` (keys of `Recipe`).

        Raises:
            InputError: an unknown table or key (the nearest known one is named), or a value of the wrong type.
        """
        check_keys("training configuration", "table", values, ["model", "training"])
        model = dict(values.get("model", {}))
        preset = model.pop("preset", "official")
        if preset not in PRESETS:
            raise InputError(f"training configuration: preset {preset!r}; accepted: {', '.join(PRESETS)}")
        defaults = dataclasses.asdict(Recipe())
        recipe = dict(values.get("training", {}))
        check_keys("training configuration", "key", recipe, defaults)
        for key, value in recipe.items():
            default = defaults[key]
            kinds = (
                (int, float)
                if isinstance(default, float)
                else (list, tuple)
                if isinstance(default, tuple)
                else type(default)
            )
            if not isinstance(value, kinds) or (isinstance(value, bool) and not isinstance(default, bool)):
                raise InputError(f"training configuration: {key} = {value!r}, expected the kind of {default!r}")
            recipe[key] = type(default)(value)
        return cls(ModelConfig.from_dict(PRESETS[preset].to_dict() | model), Recipe(**recipe))


def load_config(path: str | Path, settings: list[str] | None = None) -> TrainingConfig:
    """A TOML file, with settings `key=value` or `table.key=value` (TOML values) on top.

    Raises:
        InputError: a missing or malformed file, or settings that do not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; presets lie in configs/: official.toml, mini.toml, tiny.toml")
    try:
        values = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML ({error})") from error
    for setting in settings or []:
        name, found, text = setting.partition("=")
        table, _, key = name.strip().rpartition(".")
        if not found:
            raise InputError(f"--set {setting}: expected key=value")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()  # a word without quotes
        values.setdefault(table or "training", {})[key] = value
    return TrainingConfig.from_dict(values)
