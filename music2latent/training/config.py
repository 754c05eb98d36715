"""What defines a training run: model, recipe and objectives, from a TOML file and `--set key=value`."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import PRESETS, ModelConfig, check_keys, checked, plain
from ..errors import InputError
from .objectives import OBJECTIVES, Consistency, Objective


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained. The defaults are the official recipe (ISMIR 2024 paper, section 4)."""

    seed: int = 0
    """Seed of initial weights, crops, noise levels and noise."""
    iterations: int = 800_000
    """Of the whole schedule; one updates the weights once."""
    batch_size: int = 16
    """Crops per iteration, over all processes."""
    accumulate: int = 1
    """Passes that an iteration's crops are spread over, to save memory."""
    crop_columns: int = 64
    """Columns of the spectrogram per crop; a multiple of the model's columns per latent."""
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
    first_gap: float = 0.1
    """Distance in u between the two noise levels of a pair, at the first iteration."""
    last_gap: float = 0.001
    """The same at the last; exponential in between."""

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
    max_bad_iterations: int = 20
    """The run stops after so many iterations in a row with a loss or gradient that is not finite."""

    def __post_init__(self) -> None:
        for name in (
            "iterations",
            "batch_size",
            "accumulate",
            "crop_columns",
            "log_every",
            "validate_every",
            "save_every",
        ):
            if getattr(self, name) < 1:
                raise InputError(f"training configuration: {name} = {getattr(self, name)}; it must be 1 or more")
        for name, accepted in {"precision": ("no", "fp16", "bf16"), "init": ("default", "variance_preserving")}.items():
            if getattr(self, name) not in accepted:
                raise InputError(
                    f"training configuration: {name} = {getattr(self, name)!r}; accepted: {', '.join(accepted)}"
                )


@dataclass(frozen=True)
class TrainingConfig:
    """A run's model, recipe and objectives: the consistency loss alone, as in the official recipe, if none is named."""

    model: ModelConfig = field(default_factory=ModelConfig)
    recipe: Recipe = field(default_factory=Recipe)
    objectives: Mapping[str, Objective] = field(default_factory=lambda: {"consistency": Consistency()})

    def __post_init__(self) -> None:
        per_latent = self.model.columns_per_latent
        if self.recipe.crop_columns % per_latent:
            raise InputError(
                f"training configuration: crop_columns = {self.recipe.crop_columns}; "
                f"this model needs a multiple of {per_latent}"
            )
        inner = self.crop_samples - 2 * self.model.edge
        for name, objective in self.objectives.items():
            if (longest := max(getattr(objective, "sizes", (0,)))) > inner:
                raise InputError(
                    f"training configuration: {name}: windows of {longest} samples; crops of {self.recipe.crop_columns}"
                    f" columns have {inner} that do not fade: set sizes, or crop_columns higher"
                )
        if not any(objective.weight for objective in self.objectives.values()):
            raise InputError("training configuration: every objective has weight 0; nothing would be learned")

    @property
    def crop_samples(self) -> int:
        """Samples per crop, `hop_length * crop_columns + edge` (34304 in the official recipe)."""
        return self.model.hop_length * self.recipe.crop_columns + self.model.edge

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, `{"model": ..., "training": ..., "objectives": {NAME: ...}}`."""
        objectives = {name: plain(objective) for name, objective in self.objectives.items()}
        return {"model": self.model.to_dict(), "training": plain(self.recipe), "objectives": objectives}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """From the tables `model` (keys of `ModelConfig`, or `preset`), `training` (keys of `Recipe`) and `objectives`
        (a table for each of `OBJECTIVES` that is wanted).

        Raises:
            InputError: an unknown table or key (the nearest known one is named), or a value of the wrong type.
        """
        where = "training configuration"
        check_keys(where, "table", values, ["model", "training", "objectives"])
        for name, table in values.items():
            if not isinstance(table, Mapping):
                raise InputError(f"{where}: {name} = {table!r}, expected a table of keys")
        model = dict(values.get("model", {}))
        preset = model.pop("preset", "official")
        if preset not in PRESETS:
            raise InputError(f"{where}: preset {preset!r}; accepted: {', '.join(PRESETS)}")
        recipe = checked(where, values.get("training", {}), dataclasses.asdict(Recipe()))
        objectives = values.get("objectives") or {"consistency": {}}
        check_keys(where, "objective", objectives, OBJECTIVES)
        return cls(
            ModelConfig.from_dict(PRESETS[preset].to_dict() | model),
            Recipe(**recipe),
            {name: _objective(f"{where}: {name}", OBJECTIVES[name], table) for name, table in objectives.items()},
        )


def _objective(where: str, kind: type[Objective], values: Any) -> Objective:
    if not isinstance(values, Mapping):
        raise InputError(f"{where} = {values!r}, expected a table of keys")
    return kind(**checked(where, values, dataclasses.asdict(kind())))  # type: ignore[call-overload]


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
        *tables, key = name.strip().split(".")
        if not found:
            raise InputError(f"--set {setting}: expected key=value")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()  # a word without quotes
        table = values
        for one in tables or ["training"]:
            table = table.setdefault(one, {})
            if not isinstance(table, dict):
                raise InputError(f"--set {setting}: {one} is a key, not a table")
        table[key] = value
    return TrainingConfig.from_dict(values)
