"""EncoderDecoder, the codec. One model behind two interfaces:

- `encode` / `decode`, the official package's, call for call: arrays in, latents out, at its lengths and chunks;
- `compress` / `decompress` / `reconstruct`: any rate, length and channel count, and everything comes back.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import Tensor

from . import chunk_coding, chunks, hub
from .arrays import as_float
from .audio import is_file, open_source, read_whole
from .batch_coding import BatchCoding
from .checkpoint import Checkpoint
from .chunks import ChunkPlan
from .codec_module import CodecModule
from .errors import InputError, whole_number
from .latents import Latents, as_values
from .pretrained import load_checkpoint, recorded_name
from .progress import Progress
from .resampling import check_rate, resample, resample_array
from .threads import ahead

CODING_RATES = (44100, 48000)
"""Sample rates that audio can be coded at; all others are resampled to the model's own, the first."""

OFFICIAL_CHUNK = 44100 * 60
"""The official package's default chunk in samples, at any sample rate."""

MOST_STEPS = 1000
"""Network passes that decoding accepts; beyond a few they change nothing."""


class EncoderDecoder(CodecModule):
    """Music2Latent: audio -> 64 numbers about eleven times a second -> audio.

    A `torch.nn.Module`: part of a network of yours, trained, moved, copied, pickled and sent to other processes like
    any other. Its networks are `gen`; calling it is `reconstruct` for tensors, see `forward`.

    Args:
        load_path_inference: path to a checkpoint, as in the official package; it wins over `model`.
        device: where to compute; by default CUDA or MPS where there is one, else the CPU.
        dtype: what the networks compute in: `float32`, `bfloat16`, `float16`, or `auto`, which is bfloat16 where the
            hardware multiplies it natively, else float32. Audio, spectrograms and latents are float32 throughout.
        model: `mini` (bundled), `official` (SonyCSLParis/music2latent on the Hugging Face hub), a path, any other
            repository id, or a `Checkpoint`. By default the one that `MUSIC2LATENT_MODEL` or the configuration file
            names (`settings.default_model`), else `mini`.
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
        model: str | os.PathLike[str] | Checkpoint | None = None,
        *,
        revision: str | None = None,
        compile: bool = False,
        batch_size: int = 1,
    ) -> None:
        if load_path_inference is not None:
            model = Path(load_path_inference)
        checkpoint = model if isinstance(model, Checkpoint) else load_checkpoint(model, revision=revision)
        super().__init__(checkpoint, device, dtype, compile=compile, batch_size=batch_size)

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

    def forward(self, audio: Tensor, *, seed: int | None = None, num_steps: int = 1) -> Tensor:
        """What the codec makes of audio: `reconstruct` for tensors, with gradients.

        A graph is built in training mode, or where the audio needs gradients.

        Args:
            audio: `[n]`, `[C, n]` or `[B, C, n]` at `sample_rate`, n from 1 on.
            seed, num_steps: as in `decode`.

        Returns:
            As much audio of the same shape, float32 in [-1, 1], on the audio's device.

        Raises:
            InputError: as `encode` and `decode`.
        """
        samples = as_float(audio)
        items = samples.reshape(-1, samples.shape[-1]).to(self.device)
        coding = BatchCoding(
            model=self.gen,
            latent_scale=self.latent_scale,
            chunk_plan=self.checkpoint.chunk_plan,
            lead=self.config.edge,
        )
        with self._graph(torch.is_grad_enabled() and (self.training or samples.requires_grad)):
            latents = coding.encode(items)
            decoded = coding.decode(latents, items.shape[-1], num_steps=_steps(num_steps), seed=_seed(seed))
        return decoded.to(samples.device).view(samples.shape)

    # ------------------------------------------------------------------------------------- the official interface

    def encode(
        self,
        path_or_audio: Any,
        max_waveform_length: int | None = None,
        max_batch_size: int | None = None,
        extract_features: bool = False,
        *,
        sample_rate: int | None = None,
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
            sample_rate: rate of an array's samples in Hz, if it is not the model's own; they are resampled then.
            grad: build a graph, so that gradients reach the audio and the weights. Weights are trained in float32 alone
                (`dtype="float32"`, under `torch.autocast` if it is to be fast).

        Returns:
            `[1, D, L]`, `[C, D, L]` or `[B, C, D, L]` of about unit variance, on the model's device
            (features: `feature_dim` in place of D).

        Raises:
            InputError: an unreadable file, samples that are too few, not finite, or not time last, or a graph asked for
                with weights of 16 bits.
        """
        samples = self._samples(path_or_audio, sample_rate).to(self.device)
        items = samples.reshape(-1, samples.shape[-1])
        if items.shape[-1] < self.config.edge + self.frame_size:
            raise InputError(
                f"{items.shape[-1]} samples are too few for encode, which needs {self.config.edge + self.frame_size} "
                "for one latent; use compress, or pad the audio"
            )
        plan, batch_size = self._official_plan(max_waveform_length), _batch_size(max_batch_size)
        with self._graph(grad):
            latents = chunk_coding.encode_batch(self.gen, items, plan, batch_size, extract_features=extract_features)
            if not extract_features:
                latents = latents / self.latent_scale
        return latents.view(*samples.shape[:-1], *latents.shape[1:]) if samples.ndim == 3 else latents

    def _samples(self, audio: Any, sample_rate: int | None) -> Tensor:
        """A file or array, of any rate, as samples of the model's rate: `[n]`, `[C, n]` or `[B, C, n]`."""
        _refuse_latents(audio)
        if is_file(audio):
            return torch.from_numpy(read_whole(open_source(audio, sample_rate), self.sample_rate))
        samples = as_float(audio)
        if samples.ndim > 3:
            raise InputError(f"audio of shape {list(samples.shape)}; expected [n], [C, n] or [B, C, n]")
        rate = self.sample_rate if sample_rate is None else check_rate("sample_rate", sample_rate)
        if rate == self.sample_rate:
            return samples
        if samples.requires_grad:
            raise InputError(f"no gradients pass through resampling; bring the audio to {self.sample_rate} Hz yourself")
        items = resample_array(samples.cpu().numpy().reshape(-1, samples.shape[-1]), rate, self.sample_rate)
        return torch.from_numpy(items.reshape(*samples.shape[:-1], -1))

    def decode(
        self,
        latent: Any,
        denoising_steps: int = 1,
        max_waveform_length: int | None = None,
        max_batch_size: int | None = None,
        *,
        num_steps: int | None = None,
        seed: int | None = None,
        noise: chunk_coding.Noise | None = None,
        num_samples: int | None = None,
        grad: bool = False,
        model_id: str | None = None,
        fingerprint: str | None = None,
    ) -> Tensor:
        """Latents -> audio, at the official package's lengths: n = 512 (8 L + 3).

        Args:
            latent: array or tensor `[D, L]`, `[C, D, L]` or `[B, C, D, L]`, as `encode` returns it.
            denoising_steps, num_steps: network passes; two names of one thing, the official package's and ours.
            max_waveform_length: samples in a chunk, cut as in `encode`. By default chunks are those of `decompress`,
                overlapping and cross-faded: a minute needs 2.8 GB, not 14, and has no seams. For the official result
                to the last digit name its 44100 * 60, or draw `noise`.
            max_batch_size: chunks that run through the network together (default 1).
            seed: makes the result repeatable: noise then depends on position alone, not on the batch or the other
                items. By default every call draws another.
            noise: in place of a seed, a function from a shape to that much standard normal noise, called once per
                batch and step with `(items, 2, F, T)`; chunks are then the official ones.
            num_samples: return this many samples: the end is cut, or filled up with silence where `encode` left it out.
            grad: build a graph, so that gradients reach the latents and the weights; as in `encode`.
            model_id, fingerprint: of the model that made the latents, where they were noted: an array does not say.
                Another model's are refused.

        Returns:
            `[1, n]`, `[C, n]` or `[B, C, n]`, float32 in [-1, 1], on the CPU.

        Raises:
            InputError: latents of another shape, with NaN, or of another model, or arguments out of range.
        """
        self._check_origin(model_id, fingerprint)
        values = as_values(latent, self.latent_dim)
        num_steps = _steps(num_steps, denoising_steps)
        if seed is not None and noise is not None:
            raise InputError("decode takes a seed or a noise function, not both")
        items = values.to(self.device, torch.float32).reshape(-1, *values.shape[-2:])
        if max_waveform_length is None and noise is None:
            plan = self._plan(None, self.sample_rate, chunks.decoder_overlap(self.config))
        else:
            plan = self._official_plan(max_waveform_length)
        batch_size = _batch_size(max_batch_size)
        with self._graph(grad):
            audio = chunk_coding.decode_batch(
                self.gen,
                items * self.latent_scale,
                plan,
                batch_size,
                num_steps=num_steps,
                seed=_seed(seed),
                noise=noise,
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
        features: bool = False,
        progress: Progress | None = None,
    ) -> Latents:
        """A file or array of any sample rate, channel count and length -> `Latents`, in constant memory.

        Args:
            audio: a path or file object, or samples as array or tensor `[n]` or `[C, n]`.
            sample_rate: rate of the samples in Hz; a file knows its own.
            coding_rate: rate to code at: the model's own 44100 (default), or 48000 (11.72 latents per second).
            chunk_seconds: audio that the network sees at a time, by default the model's own choice
                (`Checkpoint.chunk_plan`) or 10 s. Chunks overlap and are cross-faded.
            features: also keep the encoder's features, as `Latents.features`.
            progress: called with the fraction of the audio that is done, 0 to 1.

        Raises:
            InputError: an unreadable file, unusable samples, or arguments out of range.
        """
        rate = self.sample_rate if coding_rate is None else whole_number("coding_rate", coding_rate)
        if rate not in (self.sample_rate, *CODING_RATES):
            raise InputError(f"coding_rate = {rate}; accepted: {', '.join(map(str, CODING_RATES))}")
        _refuse_latents(audio)
        source = open_source(audio, sample_rate)
        plan = self._plan(chunk_seconds, rate, chunks.encoder_context(self.config))
        blocks = resample(source.blocks(), source.channels, source.sample_rate, rate)
        encoding, parts, done = chunk_coding.Encoding(self.runner, plan, features=features), [], 0
        for block in ahead(blocks):
            parts.append(encoding.push(block))
            done += parts[-1].shape[-1]
            if progress:
                progress(min(done * self.frame_size / rate / source.duration, 1.0))
        parts.append(encoding.flush())
        if progress:
            progress(1.0)
        values, maps = torch.cat(parts, dim=-1).split([self.latent_dim, self.feature_dim * features], dim=1)
        return Latents(
            values=values / self.latent_scale,
            features=maps if features else None,
            sample_rate=source.sample_rate,
            num_samples=source.num_samples,
            coding_rate=rate,
            model_id=self.model_id,
            fingerprint=self.fingerprint,
            frame_size=self.frame_size,
            edge=self.config.edge,
        )

    def latents(self, values: Any, *, sample_rate: int | None = None, num_samples: int | None = None) -> Latents:
        """Values that did not come out of the encoder, such as a generator's, for `decompress`.

        Args:
            values: array or tensor of floats `[D, L]` or `[C, D, L]` of about unit variance.
            sample_rate, num_samples: of the audio that is to come back; by default the model's own rate, and the most
                that L latents hold.

        Raises:
            InputError: another shape, values that are not finite, or arguments out of range.
        """
        return Latents.from_array(
            as_values(values, self.latent_dim),
            sample_rate=sample_rate,
            num_samples=num_samples,
            coding_rate=self.sample_rate,
            model_id=self.model_id,
            fingerprint=self.fingerprint,
            frame_size=self.frame_size,
            edge=self.config.edge,
        )

    def decompress_blocks(
        self,
        latents: Latents,
        *,
        seed: int | None = 0,
        num_steps: int = 1,
        chunk_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> Iterator[np.ndarray]:
        """`decompress` for long audio: the same samples, block by block `[C, n]`, in constant memory."""
        self._check_latents(latents)
        num_steps, seed = _steps(num_steps), _seed(seed)
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
        seed: int | None = 0,
        num_steps: int | None = None,
        denoising_steps: int = 1,
        chunk_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Latents -> audio `[C, n]`, float32 in [-1, 1], with the original's rate, channels and number of samples.

        Args:
            latents: as `compress` or `Latents.load` returned them.
            seed: of the noise that decoding starts from; the same seed gives the same audio, None draws another.
            num_steps, denoising_steps: network passes; two names of one thing.
            chunk_seconds, progress: as in `compress`.

        Raises:
            InputError: latents of another model, or arguments out of range.
        """
        num_steps = _steps(num_steps, denoising_steps)
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
        seed: int | None = 0,
        num_steps: int | None = None,
        denoising_steps: int = 1,
    ) -> np.ndarray:
        """`decompress(compress(audio))`: what the codec makes of a file or array; arguments as in those two."""
        num_steps = _steps(num_steps, denoising_steps)
        latents = self.compress(audio, sample_rate, coding_rate=coding_rate, chunk_seconds=chunk_seconds)
        return self.decompress(latents, seed=seed, num_steps=num_steps, chunk_seconds=chunk_seconds)

    def _plan(self, chunk_seconds: float | None, rate: int, overlap: int) -> ChunkPlan:
        """The model's own chunks, or chunks of that length and overlap."""
        if chunk_seconds is None and self.checkpoint.chunk_plan:
            return self.checkpoint.chunk_plan
        return chunks.plan_for(self.frame_size, rate, overlap, chunk_seconds)

    def _check_origin(self, model_id: str | None, fingerprint: str | None) -> None:
        """Refuse latents that another model made."""
        model_id = model_id and recorded_name(model_id)
        if self.decodes(fingerprint) if fingerprint else model_id in (None, self.model_id):
            return  # models are renamed, weights are not
        origin = " ".join(
            filter(None, [repr(model_id) if model_id else "", f"({fingerprint[:12]})" if fingerprint else ""])
        )
        raise InputError(
            f"latents of model {origin} cannot be decoded by {self.model_id!r} ({self.fingerprint[:12]}); "
            "load the model that encoded them"
        )

    def _check_latents(self, latents: Latents) -> None:
        if not isinstance(latents, Latents):
            raise InputError(
                f"decompress takes Latents, not {type(latents).__name__}; Latents.load reads files, decode takes arrays"
            )
        self._check_origin(latents.model_id, latents.fingerprint)
        found = (latents.shape[1], latents.frame_size, latents.edge)
        expected = (self.latent_dim, self.frame_size, self.config.edge)
        if found != expected or latents.coding_rate not in (self.sample_rate, *CODING_RATES):
            raise InputError(
                f"latents of {found[0]} numbers for {found[1]} samples at {latents.coding_rate} Hz, {found[2]} of them "
                f"mirrored; this model gives {expected[0]} for {expected[1]} at {self.sample_rate} Hz, {expected[2]}"
            )


def _refuse_latents(audio: Any) -> None:
    if isinstance(audio, Latents):  # NumPy would take it for an array of samples
        raise InputError("these are latents already; decompress makes audio of them")


def _batch_size(max_batch_size: int | None) -> int:
    return whole_number("max_batch_size", 1 if max_batch_size is None else max_batch_size)


def _seed(seed: int | None) -> int:
    """The seed, or a random one."""
    return int(torch.randint(2**62, ())) if seed is None else whole_number("seed", seed, low=0)


def _steps(num_steps: int | None, denoising_steps: int = 1) -> int:
    """Network passes, by either name."""
    if num_steps is None:
        return whole_number("denoising_steps", denoising_steps, high=MOST_STEPS)
    if denoising_steps not in (1, num_steps):
        raise InputError(
            f"num_steps = {num_steps} and denoising_steps = {denoising_steps}, two names of one thing; give one"
        )
    return whole_number("num_steps", num_steps, high=MOST_STEPS)
