"""What both ways to read share: items -> `Example`, cropped and normalised, and back to audio; and `collate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from ..batch_coding import BatchCoding
from ..codec import EncoderDecoder
from ..errors import InputError, whole_number
from ..latents import Latents
from ..resampling import resample_array
from .collection import Collection, Paths
from .formats import Item

CHANNELS = ("all", "first", "random", "mean")
"""What becomes of the audio channels of an item."""


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation per latent channel, `[D, 1]`; one that never changes keeps its width."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, statistics: Mapping[str, Sequence[float]]) -> Normalisation:
        """From `{"mean": [...], "std": [...]}`, as `dataset.json` has them.

        Raises:
            InputError: anything else.
        """
        try:
            mean, std = (torch.tensor(statistics[name], dtype=torch.float32) for name in ("mean", "std"))
            fits = (
                mean.ndim == 1 and mean.shape == std.shape and bool(torch.isfinite(mean + std).all() & (std >= 0).all())
            )
        except (KeyError, TypeError, ValueError, RuntimeError):
            fits = False
        if not fits:
            raise InputError(
                f"statistics = {statistics!r:.80}; expected {{'mean': [...], 'std': [...]}}, a number for "
                "each latent channel"
            )
        return cls(mean[:, None], torch.where(std > 0, std, 1)[:, None])

    def apply(self, latents: Tensor) -> Tensor:
        """`[..., D, L]` as stored -> zero mean, unit variance."""
        return (latents - self._like(self.mean, latents)) / self._like(self.std, latents)

    def undo(self, latents: Tensor) -> Tensor:
        """And back."""
        return latents * self._like(self.std, latents) + self._like(self.mean, latents)

    def _like(self, values: Tensor, latents: Tensor) -> Tensor:
        if latents.ndim < 2 or latents.shape[-2] != len(values):
            raise InputError(
                f"latents of shape {list(latents.shape)}, and statistics of {len(values)} channels; "
                f"expected [..., {len(values)}, L]"
            )
        return values.to(latents.device, latents.dtype)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What decoding an example needs to know."""

    sample_rate: int
    num_samples: int
    """Of what the example covers, at `sample_rate`."""
    coding_rate: int
    frame_size: int
    edge: int
    lead: int
    """Samples that were mirrored before the audio; `BatchCoding.lead`."""
    model_id: str
    fingerprint: str
    features: bool
    normalisation: Normalisation | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """One item, or a crop of it."""

    latents: Tensor
    """`[C, D, L]` float32, or `[D, L]` where channels are picked or mixed; zeros where there is nothing."""
    padding_mask: Tensor
    """`[L]` bool, True where there is audio."""
    prompt: str
    key: str
    metadata: dict[str, Any]
    seconds_start: float
    """Where it begins in the audio file."""
    seconds_total: float
    """Of the whole audio file."""
    origin: Origin

    def decode(self, codec: EncoderDecoder, *, seed: int = 0, num_steps: int = 1) -> np.ndarray:
        """The audio of exactly what the example covers, without padding.

        Args:
            codec: the model that encoded it.
            seed, num_steps: as in `EncoderDecoder.decompress`.

        Returns:
            `[C, n]` float32 in [-1, 1] at `origin.sample_rate`; one channel where channels were picked or mixed.

        Raises:
            InputError: features, which nothing decodes, or another model.
        """
        origin = self.origin
        if origin.features:
            raise InputError(f"{self.key}: the encoder's features, which cannot be decoded; encode without --features")
        if not codec.decodes(origin.fingerprint):
            raise InputError(
                f"{self.key}: latents of the model {origin.model_id!r} ({origin.fingerprint[:12]}) cannot be decoded "
                f"by {codec.model_id!r} ({codec.fingerprint[:12]}); load the model that encoded them"
            )
        values = self.latents[..., self.padding_mask]
        values = values if origin.normalisation is None else origin.normalisation.undo(values)
        values = values[None] if values.ndim == 2 else values
        if origin.lead != origin.edge:
            return self._decode_frames(codec, values, seed, num_steps)
        names = ("sample_rate", "num_samples", "coding_rate", "model_id", "fingerprint", "frame_size", "edge")
        latents = Latents(values=values, **{name: getattr(origin, name) for name in names})
        return codec.decompress(latents, seed=seed, num_steps=num_steps)

    def _decode_frames(self, codec: EncoderDecoder, values: Tensor, seed: int, num_steps: int) -> np.ndarray:
        """Of latents that are centred on their frames."""
        origin = self.origin
        coding = BatchCoding(
            model=codec.gen,
            latent_scale=codec.latent_scale,
            chunk_plan=codec.checkpoint.chunk_plan,
            lead=origin.lead,
        )
        with torch.no_grad():
            audio = coding.decode(values, coding.num_samples(values.shape[-1]), num_steps=num_steps, seed=seed)
        audio_there = resample_array(audio.float().numpy(), origin.coding_rate, origin.sample_rate)
        return audio_there[:, : origin.num_samples]


class Arguments(TypedDict, total=False):
    """Keywords of `Examples`."""

    length: int | None
    channels: str
    normalise: bool
    prompt: Callable[[dict[str, Any]], str] | None
    seed: int
    statistics: Mapping[str, Sequence[float]] | None
    options: dict[str, Any] | None


class Examples:
    """Items as examples; `LatentDataset` gives them by number, `LatentStream` one after the other.

    Args:
        path: a data set of any format, as a folder or a URL; a folder of `.m2l` files; or several of them.
        length: latents of an example: a random crop, which depends on (seed, epoch, number of the item) alone. What is
            shorter is followed by zeros. By default examples are whole items.
        channels: `all` of the audio, so that latents are `[C, D, L]`; or `[D, L]`: of the `first`, a `random` one, or
            the `mean` of all channels' latents.
        normalise: to zero mean and unit variance for each latent channel over the whole data set.
        prompt: a function from an item's facts (`source`, `metadata`, ...) to what `Example.prompt` shall be; by
            default that is the metadata's `prompt`, `text`, `caption`, `description` or `title`, else empty.
        seed: of crops, and of the order of a stream.
        statistics: `{"mean": [...], "std": [...]}` to normalise with, in place of the data set's own.
        options: for fsspec, where the path is a URL.

    Raises:
        InputError: no data set, a damaged or empty one, or arguments out of range.
    """

    def __init__(
        self,
        path: Paths,
        *,
        length: int | None = None,
        channels: str = "all",
        normalise: bool = True,
        prompt: Callable[[dict[str, Any]], str] | None = None,
        seed: int = 0,
        statistics: Mapping[str, Sequence[float]] | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self._length = None if length is None else whole_number("length", length)
        if channels not in CHANNELS:
            raise InputError(f"channels = {channels!r}; accepted: {', '.join(CHANNELS)}")
        self._channels, self._prompt, self._seed = channels, prompt, whole_number("seed", seed, low=0)
        self._collection = Collection(path, options)
        sums = self._collection.sums
        if statistics is None and sums is not None:
            statistics = {"mean": sums.mean, "std": sums.std}
        if normalise and statistics is None:
            raise InputError(
                f"{path}: .m2l files without a dataset.json, which would have their statistics; "
                "pass normalise=False or statistics={'mean': [...], 'std': [...]}"
            )
        self.statistics = statistics
        """Mean and standard deviation per latent channel; to be kept with a model that is trained on the examples."""
        self._normalisation = Normalisation.of(cast(Any, statistics)) if normalise else None
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that live on see it change

    @property
    def epoch(self) -> int:
        """Number of the epoch, which decides about crops and order."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Take other crops, and another order, before each pass; reaches workers of a DataLoader too."""
        self._epoch.fill_(whole_number("epoch", epoch, low=0))

    def denormalise(self, latents: Tensor) -> Tensor:
        """Latents `[..., D, L]` like those of examples -> latents as the codec has them."""
        return latents if self._normalisation is None else self._normalisation.undo(latents)

    def _example(self, index: int, item: Item, epoch: int) -> Example:
        facts, rng = item.facts, np.random.default_rng((self._seed, epoch, index))
        rate, frame = facts["sample_rate"], facts["frame_size"] * facts["sample_rate"] / facts["coding_rate"]
        there = item.values.shape[-1] - facts.get("padding", 0)
        length = there if self._length is None else min(self._length, there)
        # The last latent may begin where the audio ends: no crop begins with it.
        last = min(there - length, int((facts["num_samples"] - 1) // frame))
        start = int(rng.integers(last + 1))
        latents = torch.from_numpy(replace(item, values=item.values[..., start : start + length]).floats)
        if self._channels == "mean":
            latents = latents.mean(0)
        elif self._channels != "all":
            latents = latents[0 if self._channels == "first" else int(rng.integers(len(latents)))]
        if self._normalisation is not None:
            latents = self._normalisation.apply(latents)
        mask = torch.ones(length, dtype=torch.bool)
        if self._length is not None:
            latents, mask = (pad(one, (0, self._length - length)) for one in (latents, mask))
        first = round(start * frame)
        most = (length * facts["frame_size"] + facts["edge"] - 2 * facts["lead"]) * rate // facts["coding_rate"]
        shared = ("sample_rate", "coding_rate", "frame_size", "edge", "lead", "model_id", "fingerprint")
        origin = Origin(
            num_samples=min(most, facts["num_samples"] - first),
            features=self._collection.features,
            normalisation=self._normalisation,
            **{name: facts[name] for name in shared},
        )
        return Example(
            latents=latents,
            padding_mask=mask,
            prompt=item.prompt if self._prompt is None else self._prompt(facts),
            key=item.key,
            metadata=facts["metadata"],
            seconds_start=facts["seconds_start"] + first / rate,
            seconds_total=facts["seconds_total"],
            origin=origin,
        )


def collate(examples: Sequence[Example]) -> dict[str, Any]:
    """Examples as a batch, for `DataLoader(collate_fn=collate)`.

    Returns:
        `latents` `[B, C, D, L]` or `[B, D, L]`, zeros behind shorter ones; `padding_mask` `[B, L]`; `seconds_start` and
        `seconds_total` `[B]`; and the lists `prompt`, `key` and `metadata`.

    Raises:
        InputError: examples of different numbers of channels.
    """
    channels = sorted({one.latents.shape[0] for one in examples})
    if len(channels) > 1:
        raise InputError(
            f"examples of {' and '.join(map(str, channels))} channels in one batch; "
            "pass channels='first', 'random' or 'mean' to the data set, or take batches of one"
        )
    longest = max(one.latents.shape[-1] for one in examples)

    def stacked(name: str) -> Tensor:
        values = [getattr(one, name) for one in examples]
        return torch.stack([pad(one, (0, longest - one.shape[-1])) for one in values])

    batch: dict[str, Any] = {name: stacked(name) for name in ("latents", "padding_mask")}
    batch |= {name: [getattr(one, name) for one in examples] for name in ("prompt", "key", "metadata")}
    return batch | {
        name: torch.tensor([getattr(one, name) for one in examples]) for name in ("seconds_start", "seconds_total")
    }
