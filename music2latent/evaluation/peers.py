"""The codecs that `evaluate` compares: each a small adapter from audio to audio that counts the bits of its code.

mini, a path, a repository id     a model of this package; `@int8` codes its latents in 8 bits, `@2` decodes in 2 steps
music2latent                      the official model, from the hub
opus:12, mp3:32                   FFmpeg's encoders through PyAV, at so many kbit/s per channel
encodec:6, dac, linear-cae, ...   other neural codecs, where their packages and weights are installed
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .. import official
from ..codec import EncoderDecoder
from ..errors import InputError
from ..resampling import resample_array


@dataclass(frozen=True, kw_only=True)
class Coded:
    """One piece of audio after coding and decoding."""

    audio: Tensor
    """`[C, n]`, of the original's rate and length."""
    bits: float
    """Size of its code."""
    encode_seconds: float
    decode_seconds: float
    latents: Tensor | None = None
    """`[C, D, L]` of a model of this package."""


class Codec(Protocol):
    """An adapter: built by name, then called with audio `[C, n]`."""

    seeded: bool
    """Whether decoding draws noise, so that seeds make a difference."""

    def __call__(self, audio: Tensor, sample_rate: int, seed: int) -> Coded: ...


def names(models: list[str], steps: list[int], against: list[str]) -> tuple[str, ...]:
    """Names for `make_codec`: every model with every number of steps, then the others."""
    ours = (f"{model}@{num_steps}" if num_steps > 1 else model for model in models for num_steps in steps)
    return (*ours, *against)


def _options(name: str) -> tuple[str, int, int]:
    """Model, bits per value and number of steps of MODEL[@int8][@STEPS]."""
    model, *options = name.split("@")
    bits, num_steps = 16, 1
    for option in options:
        if option == "int8":
            bits = 8
        elif option.isdecimal() and int(option):
            num_steps = int(option)
        else:
            raise InputError(f"{name}: unknown option {option!r}; accepted after @: int8, or a number of steps")
    return model, bits, num_steps


def make_codec(name: str, *, device: str | None = None, dtype: str = "auto") -> Codec:
    """The codec of that name, see above.

    Raises:
        InputError: unknown, not installed, or without its weights.
    """
    kind, _, setting = name.partition(":")
    if kind in ENCODERS:
        return Classic(kind, _kilobits(name, setting))
    if kind in NEURAL:
        try:
            return Neural(NEURAL[kind](setting))
        except ImportError as error:
            raise InputError(f"{name}: not installed ({error}); pip install {PACKAGES[kind]}") from error
        except Exception as error:  # whatever a foreign package says when it cannot fetch its weights
            raise InputError(f"{name}: its weights could not be had ({type(error).__name__}: {error})") from error
    model, bits, num_steps = _options(name)
    if model == "music2latent":  # the package of that name has one model, which this package runs as well
        model = official.REPO
    return Ours(EncoderDecoder(model=model, device=device, dtype=dtype), bits, num_steps)


class Ours:
    """A model of this package, its latents rounded as in a file (float16), or to 8 bits."""

    seeded = True

    def __init__(self, codec: EncoderDecoder, bits: int, num_steps: int) -> None:
        self.codec, self.bits, self.num_steps = codec, bits, num_steps

    def __call__(self, audio: Tensor, sample_rate: int, seed: int) -> Coded:
        begun = time.perf_counter()
        latents = self.codec.compress(audio, sample_rate)
        if self.bits == 8:  # times latent_scale they lie in (-1, 1)
            step = 1 / (127 * self.codec.latent_scale)
            latents = replace(latents, values=(latents.values / step).round() * step)
        else:
            latents = latents.rounded()
        encoded = time.perf_counter()
        decoded = self.codec.decompress(latents, seed=seed, num_steps=self.num_steps)
        return Coded(
            audio=torch.from_numpy(decoded),
            bits=latents.values.numel() * self.bits,
            encode_seconds=encoded - begun,
            decode_seconds=time.perf_counter() - encoded,
            latents=latents.values,
        )


ENCODERS = {"opus": ("libopus", "ogg", 48000), "mp3": ("libmp3lame", "mp3", 44100)}
"""FFmpeg's name of the encoder, its container and its rate."""


def _kilobits(name: str, setting: str) -> float:
    try:
        return float(setting)
    except ValueError as error:
        raise InputError(
            f"{name}: expected a bitrate in kbit/s per channel, as in {name.partition(':')[0]}:12"
        ) from error


class Classic:
    """An encoder of FFmpeg's, through PyAV. Counted are the packets, without their container."""

    seeded = False

    def __init__(self, kind: str, kilobits: float) -> None:
        import av

        self.av: Any = av
        self.encoder, self.container, self.rate = ENCODERS[kind]
        self.kilobits = kilobits

    def __call__(self, audio: Tensor, sample_rate: int, seed: int) -> Coded:
        channels, num_samples = audio.shape
        if channels > 2:
            raise InputError(f"{channels} channels; {self.encoder} is compared on one or two")
        begun = time.perf_counter()
        file, bits = self._encode(resample_array(audio.numpy(), sample_rate, self.rate))
        encoded = time.perf_counter()
        with self.av.open(file) as container:
            resampler = self.av.AudioResampler("fltp", "mono" if channels == 1 else "stereo", self.rate)
            frames = [one for frame in container.decode(audio=0) for one in resampler.resample(frame)]
        decoded = np.concatenate([frame.to_ndarray() for frame in frames], axis=1)
        restored = _fitted(resample_array(decoded, self.rate, sample_rate), num_samples)
        decode_seconds = time.perf_counter() - encoded
        return Coded(audio=restored, bits=bits, encode_seconds=encoded - begun, decode_seconds=decode_seconds)

    def _encode(self, audio: np.ndarray) -> tuple[io.BytesIO, int]:
        file, bits = io.BytesIO(), 0
        layout = "mono" if len(audio) == 1 else "stereo"
        with self.av.open(file, "w", format=self.container) as container:
            stream = container.add_stream(self.encoder, rate=self.rate, layout=layout)
            stream.bit_rate = round(1000 * self.kilobits * len(audio))
            frame = self.av.AudioFrame.from_ndarray(np.ascontiguousarray(audio), format="fltp", layout=layout)
            frame.sample_rate = self.rate
            for given in (frame, None):
                for packet in stream.encode(given):
                    bits += 8 * packet.size
                    container.mux(packet)
        file.seek(0)
        return file, bits


Parts = tuple[int, Callable[[Tensor], Any], Callable[[Any], float], Callable[[Any], Tensor]]
"""Of a neural codec: its rate; audio `[C, n]` -> code; code -> bits; code -> audio."""


class Neural:
    """Another package's network at its own rate: encode, count the bits of the code, decode."""

    seeded = False

    def __init__(self, parts: Parts) -> None:
        self.rate, self.encode, self.count_bits, self.decode = parts

    def __call__(self, audio: Tensor, sample_rate: int, seed: int) -> Coded:
        torch.manual_seed(seed)
        with torch.inference_mode():
            begun = time.perf_counter()
            code = self.encode(torch.from_numpy(resample_array(audio.numpy(), sample_rate, self.rate)))
            encoded = time.perf_counter()
            decoded = self.decode(code).float().cpu().numpy()
        restored = _fitted(resample_array(decoded, self.rate, sample_rate), audio.shape[1])
        decode_seconds, bits = time.perf_counter() - encoded, self.count_bits(code)
        return Coded(audio=restored, bits=bits, encode_seconds=encoded - begun, decode_seconds=decode_seconds)


def _encodec(setting: str) -> Parts:
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz()  # one channel
    model.set_target_bandwidth(float(setting or 6))

    def count(code: list[tuple[Tensor, Any]]) -> float:
        return sum(codes.numel() for codes, _ in code) * 10.0  # 1024 entries a book

    return model.sample_rate, lambda x: model.encode(x[:, None]), count, lambda code: model.decode(code)[:, 0]


def _dac(setting: str) -> Parts:
    import dac

    model = dac.DAC.load(dac.utils.download(model_type=setting or "44khz"))

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        z, codes, *_ = model.encode(model.preprocess(x[:, None], model.sample_rate))
        return z, codes

    return model.sample_rate, encode, lambda code: code[1].numel() * 10.0, lambda code: model.decode(code[0])[:, 0]


def _codicodec(setting: str) -> Parts:
    from codicodec import EncoderDecoder as CoDiCodec

    model = CoDiCodec()
    return 48000, model.encode, lambda code: code.numel() * 16.0, lambda code: model.decode(code)


def _linear_cae(setting: str) -> Parts:
    from linear_cae import Autoencoder

    model = Autoencoder.from_pretrained(setting or "lin-cae").eval()

    def encode(x: Tensor) -> tuple[Tensor, int]:
        return model.encode(x), x.shape[1]

    def decode(code: tuple[Tensor, int]) -> Tensor:
        return model.decode(code[0], full_length=code[1])

    return 44100, encode, lambda code: code[0].numel() * 16.0, decode


NEURAL: dict[str, Callable[[str], Parts]] = {
    "encodec": _encodec,
    "dac": _dac,
    "codicodec": _codicodec,
    "linear-cae": _linear_cae,
}
PACKAGES = {
    "encodec": "encodec",
    "dac": "descript-audio-codec",
    "codicodec": "codicodec",
    "linear-cae": "linear-cae",
}


def _fitted(audio: np.ndarray, num_samples: int) -> Tensor:
    """Cut, or filled with silence, to the original's length: coders work in blocks."""
    audio = audio[:, :num_samples]
    return torch.from_numpy(np.pad(audio, ((0, 0), (0, num_samples - audio.shape[1]))))
