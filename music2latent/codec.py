"""EncoderDecoder, the codec. One model behind two interfaces:

- `encode` / `decode`, the official package's, call for call: arrays in, latents out, at its lengths and chunks;
- `compress` / `decompress` / `reconstruct`: any rate, length and channel count, and everything comes back.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from . import chunk_coding, chunks, hub
from .arrays import as_float
from .audio import is_file, open_audio, open_source, read_whole
from .checkpoint import Checkpoint
from .chunks import ChunkPlan
from .config import DEFAULT_MODEL
from .devices import keep_freed_memory, resolve_device, resolve_dtype
from .errors import InputError, whole_number
from .latents import Latents, as_values
from .pretrained import load_checkpoint
from .progress import Progress
from .resampling import resample
from .threads import ahead

CODING_RATES = (44100, 48000)
"""Sample rates that audio can be coded at; all others are resampled to the model's own, the first."""

OFFICIAL_CHUNK = 44100 * 60
"""The official package's default chunk in samples, at any sample rate."""

CHUNK_SECONDS = 10.0
"""Default chunk of `compress` and `decompress`, for models without one of their own."""


class EncoderDecoder:
    """Music2Latent: audio -> 64 numbers about eleven times a second -> audio.

    Args:
        load_path_inference: path to a checkpoint, as in the official package; it wins over `model`.
        device: where to compute; by default CUDA or MPS where there is one, else the CPU.
        dtype: what the networks compute in: `float32`, `bfloat16`, `float16`, or `auto`, which is bfloat16 where the
            hardware multiplies it natively, else float32. Audio, spectrograms and latents are float32 throughout.
        model: `mini` (bundled), a path, a Hugging Face repository id (`SonyCSLParis/music2latent`), or a `Checkpoint`.
        revision: branch, tag or commit of that repository.
        compile: run chunks of full length through `torch.compile`, on a GPU as CUDA graphs. The first chunk of every
            batch size then takes from seconds to minutes; shorter chunks, as at the end of a signal, are not compiled.
        batch_size: chunks of up to so many signals, compressed or decompressed in threads of their own at the same
            time, run through the networks together.

    Raises:
        InputError: an unknown model, device or dtype, or a checkpoint that cannot be used.
    """

    def __init__(
        self,
        load_path_inference: str | os.PathLike[str] | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype = "auto",
        model: str | os.PathLike[str] | Checkpoint = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        compile: bool = False,
        batch_size: int = 1,
    ) -> None:
        target = resolve_device(device)
        if target.type == "cpu":
            keep_freed_memory()
        if load_path_inference is not None:
            model = Path(load_path_inference)
        self.checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model, revision=revision)
        """The model as it was loaded."""
        self.gen = self.checkpoint.build()
        """The networks, a `torch.nn.Module` with `.encoder` and `.decoder`."""
        self.gen.to(target, resolve_dtype(dtype, target))
        self.gen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # the layout for fast convolutions
        if compile:
            self.gen.compile_networks()
        self.runner = chunk_coding.Runner(self.gen, whole_number("batch_size", batch_size))
        """Runs the chunks of `compress`, `decompress` and streams."""

        self.config = self.checkpoint.config
        """The model's configuration."""
        self.sample_rate = self.config.sample_rate
        """Rate in Hz that audio is coded at, unless a call says otherwise."""
        self.latent_dim = self.config.latent_dim
        """Channels of the latents."""
        self.frame_size = self.config.frame_size
        """Samples per latent."""
        self.frame_rate = self.config.frame_rate
        """Latents per second."""
        self.latent_scale = self.checkpoint.latent_scale
        """Latents are the network's tanh output divided by this."""
        self.num_parameters = self.gen.num_parameters
        """Number of weights."""
        self.model_id = self.checkpoint.model_id
        """The model's name, as latents record it."""
        self.fingerprint = self.checkpoint.fingerprint()
        """SHA-256 of configuration and weights, as they were loaded."""

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.gen.device

    @property
    def dtype(self) -> torch.dtype:
        """What the networks compute in."""
        return self.gen.dtype

    # ------------------------------------------------------------------------------------- as a module and on the hub

    def to(self, *args: Any, **kwargs: Any) -> EncoderDecoder:
        """Move or cast the networks (`torch.nn.Module.to`); returns itself."""
        self.gen.to(*args, **kwargs)
        return self

    def eval(self) -> EncoderDecoder:
        """Evaluation mode, in which it is from the start; returns itself."""
        self.gen.eval()
        return self

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype = "auto",
        compile: bool = False,
        batch_size: int = 1,
        **options: Unpack[hub.DownloadOptions],
    ) -> EncoderDecoder:
        """A codec from a repository id, a folder, a file or `mini`; `options` are those of a download from the hub."""
        checkpoint = load_checkpoint(name, **options)
        return cls(device=device, dtype=dtype, model=checkpoint, compile=compile, batch_size=batch_size)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write `model.safetensors`, `config.json` and a model card; `from_pretrained(folder)` reads them.

        Raises:
            InputError: the networks are in 16 bits, so that the weights have been rounded, or the folder is unwritable.
        """
        hub.write_folder(folder, self._current())

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Upload with music2latent",
    ) -> str:
        """Upload what `save_pretrained` writes to a repository on the hub, created if need be; returns its address."""
        return hub.upload(
            repo_id, self._current(), private=private, token=token, revision=revision, commit_message=commit_message
        )

    def _current(self) -> Checkpoint:
        """The checkpoint with the weights as they are now: a caller may have trained them."""
        if self.dtype != torch.float32:
            raise InputError(f"weights rounded to {self.dtype} are not saved; load the model with dtype='float32'")
        return dataclasses.replace(self.checkpoint, state_dict=self.gen.state_dict())

    # ------------------------------------------------------------------------------------- the official interface

    def encode(
        self,
        path_or_audio: Any,
        max_waveform_length: int | None = None,
        max_batch_size: int | None = None,
        extract_features: bool = False,
        *,
        grad: bool = False,
    ) -> Tensor:
        """Audio -> latents, at the official package's lengths: L = ((n - 1536) // 512) // 8, the rest is left out.

        Args:
            path_or_audio: a path or file object (resampled to `sample_rate` if need be), or samples as array or tensor
                `[n]`, `[C, n]` or `[B, C, n]`, every channel and item coded by itself; integers are scaled by their
                range.
            max_waveform_length: samples in a chunk (default: the model's own choice, `Checkpoint.chunk_plan`; the
                official model has none, and gets 60 s). Longer audio is cut into chunks without overlap, the last
                filled up with the beginning; `compress` has no such seams.
            max_batch_size: chunks that run through the network together (default 1).
            extract_features: return the encoder's features instead, before its bottleneck, unscaled.
            grad: build a graph, so that gradients reach the audio and the weights.

        Returns:
            `[1, D, L]`, `[C, D, L]` or `[B, C, D, L]` of about unit variance, on the model's device
            (features: `feature_dim` in place of D).

        Raises:
            InputError: an unreadable file, or samples that are too few, not finite, or not time last.
        """
        if is_file(path_or_audio):
            path_or_audio = read_whole(open_audio(path_or_audio), self.sample_rate)
        samples = as_float(path_or_audio).to(self.device)
        if samples.ndim > 3:
            raise InputError(f"audio of shape {list(samples.shape)}; expected [n], [C, n] or [B, C, n]")
        items = samples.reshape(-1, samples.shape[-1])
        if items.shape[-1] < self.config.edge + self.frame_size:
            raise InputError(
                f"{items.shape[-1]} samples are too few for encode, which needs {self.config.edge + self.frame_size} "
                "for one latent; use compress, or pad the audio"
            )
        plan, batch_size = self._official_plan(max_waveform_length), _batch_size(max_batch_size)
        with _graph(grad):
            latents = chunk_coding.encode_batch(self.gen, items, plan, batch_size, extract_features=extract_features)
            if not extract_features:
                latents = latents / self.latent_scale
        return latents.view(*samples.shape[:-1], *latents.shape[1:]) if samples.ndim == 3 else latents

    def decode(
        self,
        latent: Any,
        denoising_steps: int = 1,
        max_waveform_length: int | None = None,
        max_batch_size: int | None = None,
        *,
        seed: int | None = None,
        noise: chunk_coding.Noise | None = None,
        num_samples: int | None = None,
        grad: bool = False,
    ) -> Tensor:
        """Latents -> audio, at the official package's lengths: n = 512 (8 L + 3).

        Args:
            latent: array or tensor `[D, L]`, `[C, D, L]` or `[B, C, D, L]`, as `encode` returns it.
            denoising_steps: network passes.
            max_waveform_length: samples in a chunk, cut as in `encode`. By default chunks are those of `decompress`,
                overlapping and cross-faded: a minute needs 2.8 GB, not 14, and has no seams. For the official result
                to the last digit name its 44100 * 60, or draw `noise`.
            max_batch_size: chunks that run through the network together (default 1).
            seed: makes the result repeatable: noise then depends on position alone, not on the batch or the other
                items. By default every call draws another.
            noise: in place of a seed, a function from a shape to that much standard normal noise, called once per
                batch and step with `(items, 2, F, T)`; chunks are then the official ones.
            num_samples: return this many samples: the end is cut, or filled up with silence where `encode` left it out.
            grad: build a graph, so that gradients reach the latents and the weights.

        Returns:
            `[1, n]`, `[C, n]` or `[B, C, n]`, float32 in [-1, 1], on the CPU.

        Raises:
            InputError: latents of another shape or with NaN, or arguments out of range.
        """
        values = as_values(latent, self.latent_dim)
        denoising_steps = whole_number("denoising_steps", denoising_steps)
        if seed is not None and noise is not None:
            raise InputError("decode takes a seed or a noise function, not both")
        seed = int(torch.randint(2**62, ())) if seed is None else whole_number("seed", seed, low=0)
        items = values.to(self.device, torch.float32).reshape(-1, *values.shape[-2:])
        if max_waveform_length is None and noise is None:
            plan = self._plan(None, self.sample_rate, chunks.decoder_overlap(self.config))
        else:
            plan = self._official_plan(max_waveform_length)
        batch_size = _batch_size(max_batch_size)
        with _graph(grad):
            audio = chunk_coding.decode_batch(
                self.gen, items * self.latent_scale, plan, batch_size, num_steps=denoising_steps, seed=seed, noise=noise
            )
            if num_samples is not None:
                missing = whole_number("num_samples", num_samples) - audio.shape[-1]
                audio = torch.nn.functional.pad(audio, (0, missing))
        return audio.view(*values.shape[:2], -1) if values.ndim == 4 else audio

    def _official_plan(self, max_waveform_length: int | None) -> ChunkPlan:
        """Chunks of the official package's argument, of the model's own length, or of the official default."""
        own = self.checkpoint.chunk_plan
        default = own.length * self.frame_size if own else OFFICIAL_CHUNK
        samples = default if max_waveform_length is None else max_waveform_length
        samples = whole_number("max_waveform_length", samples, low=self.frame_size)
        return ChunkPlan(samples // self.frame_size, 0)

    # ------------------------------------------------------------------------------------- everything comes back

    def compress(
        self,
        audio: Any,
        sample_rate: int | None = None,
        *,
        coding_rate: int | None = None,
        chunk_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Latents:
        """A file or array of any sample rate, channel count and length -> `Latents`, in constant memory.

        Args:
            audio: a path or file object, or samples as array or tensor `[n]` or `[C, n]`.
            sample_rate: rate of the samples in Hz; a file knows its own.
            coding_rate: rate to code at: the model's own 44100 (default), or 48000 (11.72 latents per second).
            chunk_seconds: audio that the network sees at a time, by default the model's own choice
                (`Checkpoint.chunk_plan`) or 10 s. Chunks overlap and are cross-faded.
            progress: called with the fraction of the audio that is done, 0 to 1.

        Raises:
            InputError: an unreadable file, unusable samples, or arguments out of range.
        """
        rate = self.sample_rate if coding_rate is None else whole_number("coding_rate", coding_rate)
        if rate not in (self.sample_rate, *CODING_RATES):
            raise InputError(f"coding_rate = {rate}; accepted: {', '.join(map(str, CODING_RATES))}")
        source = open_source(audio, sample_rate)
        plan = self._plan(chunk_seconds, rate, chunks.encoder_context(self.config))
        blocks = resample(source.blocks(), source.channels, source.sample_rate, rate)
        encoding, parts, done = chunk_coding.Encoding(self.runner, plan), [], 0
        for block in ahead(blocks):
            parts.append(encoding.push(block))
            done += parts[-1].shape[-1]
            if progress:
                progress(min(done * self.frame_size / rate / source.duration, 1.0))
        parts.append(encoding.flush())
        if progress:
            progress(1.0)
        return Latents(
            values=torch.cat(parts, dim=-1) / self.latent_scale,
            sample_rate=source.sample_rate,
            num_samples=source.num_samples,
            coding_rate=rate,
            model_id=self.model_id,
            fingerprint=self.fingerprint,
        )

    def decompress_blocks(
        self,
        latents: Latents,
        *,
        seed: int = 0,
        num_steps: int = 1,
        chunk_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Iterator[np.ndarray]:
        """`decompress` for long audio: the same samples, block by block `[C, n]`, in constant memory."""
        self._check_origin(latents)
        num_steps, seed = whole_number("num_steps", num_steps), whole_number("seed", seed, low=0)
        plan = self._plan(chunk_seconds, latents.coding_rate, chunks.decoder_overlap(self.config))
        decoding = chunk_coding.Decoding(self.runner, plan, num_steps=num_steps, seed=seed)

        def blocks() -> Iterator[np.ndarray]:
            for part in (latents.values * self.latent_scale).split(plan.step, dim=-1):
                yield decoding.push(part)
            yield decoding.flush()

        resampled = resample(blocks(), latents.channels, latents.coding_rate, latents.sample_rate)
        left = latents.num_samples
        for block in resampled:
            if kept := min(left, block.shape[-1]):
                yield block[:, :kept]
            left -= kept
            if progress:
                progress(1 - left / latents.num_samples)
            if not left:
                return

    def decompress(
        self,
        latents: Latents,
        *,
        seed: int = 0,
        num_steps: int = 1,
        chunk_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Latents -> audio `[C, n]`, float32 in [-1, 1], with the original's rate, channels and number of samples.

        Args:
            latents: as `compress` or `Latents.load` returned them.
            seed: of the noise that decoding starts from; the same seed gives the same audio.
            num_steps: network passes.
            chunk_seconds, progress: as in `compress`.

        Raises:
            InputError: latents of another model, or arguments out of range.
        """
        blocks = self.decompress_blocks(
            latents, seed=seed, num_steps=num_steps, chunk_seconds=chunk_seconds, progress=progress
        )
        return np.concatenate(list(blocks), axis=-1)

    def reconstruct(
        self,
        audio: Any,
        sample_rate: int | None = None,
        *,
        coding_rate: int | None = None,
        chunk_seconds: float | None = None,
        seed: int = 0,
        num_steps: int = 1,
    ) -> np.ndarray:
        """`decompress(compress(audio))`: what the codec makes of a file or array; arguments as in those two."""
        latents = self.compress(audio, sample_rate, coding_rate=coding_rate, chunk_seconds=chunk_seconds)
        return self.decompress(latents, seed=seed, num_steps=num_steps, chunk_seconds=chunk_seconds)

    def _plan(self, chunk_seconds: float | None, rate: int, overlap: int) -> ChunkPlan:
        """The model's own chunks, or chunks of that length and overlap."""
        if chunk_seconds is None and self.checkpoint.chunk_plan:
            return self.checkpoint.chunk_plan
        seconds = CHUNK_SECONDS if chunk_seconds is None else chunk_seconds
        length = round(seconds * rate / self.frame_size) if np.isfinite(seconds) else 0
        if length < 2 * overlap:
            least = 2 * overlap * self.frame_size / rate
            raise InputError(f"chunk_seconds = {seconds:g}; this model needs {least:.2f} s or more")
        return ChunkPlan(length, overlap)

    def _check_origin(self, latents: Latents) -> None:
        if not isinstance(latents, Latents):
            raise InputError(f"decompress takes Latents, not {type(latents).__name__}; for an array there is decode")
        if latents.fingerprint != self.fingerprint:
            raise InputError(
                f"latents of model {latents.model_id!r} ({latents.fingerprint[:12]}) cannot be decoded by "
                f"{self.model_id!r} ({self.fingerprint[:12]}); load the model that encoded them"
            )
        samples = -(-latents.num_samples * latents.coding_rate // latents.sample_rate)
        expected = chunks.latents_needed(samples, self.config)
        channels, dim, length = latents.values.shape
        if dim != self.latent_dim or abs(length - expected) > 1:  # one, where resampling rounded the other way
            raise InputError(
                f"latents of shape {[channels, dim, length]} do not hold {latents.num_samples} samples at "
                f"{latents.sample_rate} Hz; that takes [C, {self.latent_dim}, {expected}]"
            )


def _batch_size(max_batch_size: int | None) -> int:
    return whole_number("max_batch_size", 1 if max_batch_size is None else max_batch_size)


def _graph(grad: bool) -> AbstractContextManager[Any]:
    return nullcontext() if grad else torch.no_grad()
