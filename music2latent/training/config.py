"""What defines a training run: model, recipe and objectives, from a TOML file and `--set key=value`."""

from __future__ import annotations

import dataclasses
import os
import reprlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..config import PRESETS, ModelConfig, check_keys, checked, plain
from ..errors import InputError
from .objectives import OBJECTIVES, Bands, Consistency, Objective, Stage
from .objectives.bands import band_filters
from .ranges import check_ranges, one_of, within

WHERE = "training configuration"
RECIPES = files(__package__) / "recipes"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained. The defaults are the official recipe (ISMIR 2024 paper, section 4)."""

    seed: int = within(0, 0, 2**63 - 1)
    """Seed of initial weights, crops, noise levels and noise."""
    iterations: int = within(800_000, 1, 10**9)
    """Of the whole schedule; one updates the weights once."""
    batch_size: int = within(16, 1, 65536)
    """Crops per iteration, over all processes."""
    accumulate: int = within(1, 1, 65536)
    """Passes that an iteration's crops are spread over, to save memory."""
    crop_columns: int = within(64, 1, 65536)
    """Columns of the spectrogram per crop; a multiple of the model's columns per latent."""
    min_rms: float = within(0.001, 0.0, 1.0)
    """Crops quieter than this are drawn again."""
    workers: int = within(2, 0, 64)
    """Threads that read and resample ahead; 0 reads when a crop is needed."""

    lr: float = within(1e-4, 1e-12, 1.0)
    """Learning rate after warm-up."""
    final_lr: float = within(1e-6, 0.0, 1.0)
    """Learning rate at the end of the cosine."""
    warmup: int = within(10_000, 0, 10**9)
    """Iterations of linear warm-up."""
    beta1: float = within(0.9, 0.0, 0.999999)
    """RAdam's first beta."""
    beta2: float = within(0.999, 0.0, 0.999999)
    """RAdam's second beta."""
    clip_norm: float = within(0.0, 0.0, 1e9)
    """Gradients are scaled down to this norm; 0 leaves them."""
    ema_decay: float = within(0.9999, 0.0, 0.999999)
    """Decay of the averaged weights, reached by min(ema_decay, (1 + n) / (10 + n))."""
    init: str = one_of("default", "variance_preserving")
    """`default`, the framework's, or `variance_preserving` (std = 1 / sqrt(fan-in)), for high learning rates."""

    freeze_encoder: bool = False
    """Train upsampler and denoiser alone: latents stay those of the model that the run started from."""
    latent_noise: float = within(0.0, 0.0, 10.0)
    """Standard deviation of noise on the latents, which are in (-1, 1), before they are decoded."""
    latent_dropout: float = within(0.0, 0.0, 1.0)
    """Part of the crops of which only the first channels, a random number of them, are decoded (nested dropout, Rippel
    et al., arXiv 1402.0915)."""

    P_mean: float = within(-1.1, -20.0, 20.0)
    """Mean of the normal weights over log sigma, on a grid that is even in u."""
    P_std: float = within(2.0, 1e-3, 1e3)
    """Their standard deviation."""
    noise_levels: int = within(9999, 1, 2**24 - 1)
    """Grid points of the noise level u in [0, 1]."""
    first_gap: float = within(0.1, 1e-6, 1.0)
    """Distance in u between the two noise levels of a pair, at the first iteration."""
    last_gap: float = within(0.001, 1e-6, 1.0)
    """The same at the last; exponential in between."""

    precision: str = one_of("fp16", "bf16", "no", "auto")
    """`fp16` (needs CUDA) or `bf16`: mixed precision; `no`: float32; `auto`: what the hardware is fast in."""
    compile: bool = False
    """torch.compile the networks."""
    channels_last: bool = False
    """Keep the weights in channels_last layout, which is faster on most hardware."""

    log_every: int = within(50, 1, 10**9)
    """Iterations between lines of stats.jsonl and TensorBoard points."""
    validate_every: int = within(5000, 1, 10**9)
    """Iterations between validations."""
    save_every: int = within(1000, 1, 10**9)
    """Iterations between checkpoints."""
    max_bad_iterations: int = within(20, 1, 10**9)
    """The run stops after so many iterations in a row with a loss or gradient that is not finite."""


@dataclass(frozen=True)
class TrainingConfig:
    """A run's model, recipe and objectives: the consistency loss alone, as in the official recipe, if none is named."""

    model: ModelConfig = field(default_factory=ModelConfig)
    recipe: Recipe = field(default_factory=Recipe)
    objectives: Mapping[str, Objective] = field(default_factory=lambda: {"consistency": Consistency()})

    def __post_init__(self) -> None:
        check_ranges(WHERE, self.recipe)
        for name, objective in self.objectives.items():
            check_ranges(f"{WHERE}: {name}", objective)
        columns, per_latent = self.recipe.crop_columns, self.model.columns_per_latent
        inner = self.crop_samples - 2 * self.model.edge
        if columns % per_latent or inner < self.model.n_fft:  # less cannot be validated
            least = -(-7 // per_latent) * per_latent
            raise InputError(
                f"{WHERE}: crop_columns = {columns}; this model needs a multiple of {per_latent}, at least {least}"
            )
        if not self.active:
            raise InputError(f"{WHERE}: every objective has weight 0; nothing would be learned")
        for name, objective in self.active.items():
            if (longest := max(getattr(objective, "sizes", (0,)))) > inner:
                raise InputError(
                    f"{WHERE}: {name}: windows of {longest} samples; crops of {columns} columns have {inner} "
                    "that do not fade: set sizes, or crop_columns higher"
                )
            if isinstance(objective, Bands):
                shortest, per_octave = min(objective.sizes), objective.per_octave
                if not len(band_filters(shortest, self.model.sample_rate, per_octave)):
                    raise InputError(
                        f"{WHERE}: {name}: windows of {shortest} samples cannot tell {per_octave} bands per octave "
                        "apart; set sizes higher, or per_octave lower"
                    )
        if "tones" in self.active and not self.model.tones:
            raise InputError(
                f"{WHERE}: objective tones has weight {self.active['tones'].weight:g}, and the model has none; "
                "set model.tones, or the weight to 0"
            )
        if self.recipe.freeze_encoder and self.stage <= Stage.LATENTS:
            raise InputError(
                f"{WHERE}: freeze_encoder = true, and no objective looks at what is decoded; nothing would be learned"
            )

    @property
    def active(self) -> dict[str, Objective]:
        """The objectives that have a weight; others are left out."""
        return {name: objective for name, objective in self.objectives.items() if objective.weight}

    @property
    def stage(self) -> Stage:
        """How far a batch has to come in training."""
        return max(objective.looks_at for objective in self.active.values())

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
        check_keys(WHERE, "table", values, ["model", "training", "objectives"])
        for name, table in values.items():
            if not isinstance(table, Mapping):
                raise InputError(f"{WHERE}: {name} = {reprlib.repr(table)}, expected a table of keys")
        model = dict(values.get("model", {}))
        preset = model.pop("preset", "official")
        if preset not in list(PRESETS):  # in a list: a value that has no hash is none of them
            raise InputError(f"{WHERE}: preset {reprlib.repr(preset)}; accepted: {', '.join(PRESETS)}")
        objectives = values.get("objectives") or {"consistency": {}}
        check_keys(WHERE, "objective", objectives, OBJECTIVES)
        try:
            return cls(
                ModelConfig.from_dict(PRESETS[preset].to_dict() | model),
                Recipe(**checked(WHERE, values.get("training", {}), dataclasses.asdict(Recipe()))),
                {name: _objective(f"{WHERE}: {name}", OBJECTIVES[name], table) for name, table in objectives.items()},
            )
        except InputError:
            raise
        except (OverflowError, ValueError) as error:  # whole numbers of any length pass TOML and JSON
            raise InputError(f"{WHERE}: a number too large to be meant ({error})") from error


def _objective(where: str, kind: type[Objective], values: Any) -> Objective:
    if not isinstance(values, Mapping):
        raise InputError(f"{where} = {reprlib.repr(values)}, expected a table of keys")
    return kind(**checked(where, values, dataclasses.asdict(kind())))  # type: ignore[call-overload]


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(entry.name.removesuffix(".toml") for entry in RECIPES.iterdir())


def _read(recipe: str | os.PathLike[str]) -> tuple[str, str]:
    """A recipe's text, and what messages call it. A bare name is one of ours, whatever lies in the folder."""
    name = os.fspath(recipe)
    if name in recipe_names():
        return RECIPES.joinpath(f"{name}.toml").read_text(encoding="utf-8"), name
    path = Path(name)
    if (bare := path.name == name and not path.suffix) or not path.is_file():
        hint = f" (or ./{name}, if you mean the file)" if bare and path.is_file() else ""
        raise InputError(f"{name}: no such recipe; accepted: {', '.join(recipe_names())}, or a .toml file{hint}")
    try:
        return path.read_text(encoding="utf-8"), name
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: cannot be read as a recipe ({error})") from error


def _parse(text: str, what: str) -> dict[str, Any]:
    """TOML, whose numbers are 64 bits wide; Python's parser takes any."""
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what}: not TOML ({error})") from error
    return values


def load_config(recipe: str | os.PathLike[str], settings: Sequence[str] = ()) -> TrainingConfig:
    """A recipe of ours by its name (`official`, `mini`, `tiny`), or a TOML file, with settings on top.

    Args:
        recipe: the name, or the path.
        settings: `key=value` for the table `training`, or `table.key=value`; the values are TOML's.

    Raises:
        InputError: a missing or malformed file, or settings that do not fit.
    """
    values = _parse(*_read(recipe))
    for setting in settings:
        name, found, text = setting.partition("=")
        *tables, key = name.strip().split(".")
        if not found:
            raise InputError(f"--set {setting}: expected key=value")
        try:
            parsed = tomllib.loads(f"value = {text}")
        except (ValueError, RecursionError):
            parsed = {"value": text.strip()}  # a word without quotes
        if len(parsed) > 1:
            raise InputError(f"--set {setting}: more than one setting; give each its own --set")
        value = parsed["value"]
        table = values
        for one in tables or ["training"]:
            table = table.setdefault(one, {})
            if not isinstance(table, dict):
                raise InputError(f"--set {setting}: {one} is a key, not a table")
        table[key] = value
    return TrainingConfig.from_dict(values)
