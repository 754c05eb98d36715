"""A model as an instrument for nn~ in Max and Pure Data: TorchScript that keeps the state of a stream.

nn~ gathers samples until it has a multiple of the greatest ratio of a model's methods, here a frame, and wants as much
back at once. Networks give latents and samples a chunk at a time, so what comes out is late by a fixed amount.
"""

# Without annotations from __future__, which TorchScript cannot read.
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nn_tilde
import torch
from nn_tilde import codegen
from torch import Tensor

from ..config import ModelConfig
from ..errors import InputError
from .facts import Facts
from .networks import AudioDecoder, AudioEncoder
from .parity import TRACED, Run, example
from .torchscript import running, save

WINDOW = (4, 1)
"""Length and overlap of chunks in latents, as in `streaming.LIVE`."""


class Instrument(nn_tilde.Module):
    """Methods `forward` (samples to samples), `encode` and `decode`; attributes `seed` and `window`.

    Late by, with a window of `length` and `overlap` latents and step = length - overlap:

    - `encode`: length - 1 latents
    - `decode`: (length - 1) frames and `edge` samples
    - `forward`: (length - 1 + step) frames and `edge` samples; without overlap, length - 1
    """

    samples: Tensor
    latents: Tensor
    encoded_tail: Tensor
    decoded_tail: Tensor
    latent_queue: Tensor
    sample_queue: Tensor

    def __init__(self, encoder: torch.nn.Module, decoder: torch.nn.Module, config: ModelConfig) -> None:
        super().__init__(sr=config.sample_rate)
        self.encoder, self.decoder = encoder, decoder
        self.frame, self.edge, self.dim = config.frame_size, config.edge, config.latent_dim
        self.bins, self.columns = config.bins, config.columns_per_latent
        for name in ("samples", "latents", "encoded_tail", "decoded_tail", "latent_queue", "sample_queue"):
            self.register_buffer(name, torch.zeros(0))
        self.register_attribute("seed", 0)
        self.register_attribute("window", WINDOW)
        self.num_encoded, self.num_decoded, self.playing = 0, 0, False
        self.reset(1)
        labels = [f"(signal) latent {number}" for number in range(self.dim)]
        audio, latents = (1, 1), (self.dim, self.frame)
        self.register_method("forward", *audio, *audio, ["(signal) sound"], ["(signal) sound"])
        self.register_method("encode", *audio, *latents, ["(signal) sound"], labels)
        self.register_method("decode", *latents, *audio, labels, ["(signal) sound"])

    @torch.jit.export
    def forward(self, x: Tensor) -> Tensor:
        """Samples `[B, 1, n]` -> samples `[B, 1, n]`."""
        self.check(x.shape[0], x.shape[2])
        length, overlap = self.window
        late = length - 1 + (length - overlap if overlap > 0 else 0)
        return self.play(self.push_latents(self.push_samples(x[:, 0])), x.shape[2], late)

    @torch.jit.export
    def encode(self, x: Tensor) -> Tensor:
        """Samples `[B, 1, n]` -> latents `[B, D, n / frame]`."""
        self.check(x.shape[0], x.shape[2])
        count = x.shape[2] // self.frame
        queue = torch.cat([self.latent_queue, self.push_samples(x[:, 0])], dim=2)
        self.latent_queue = queue[:, :, count:]
        return queue[:, :, :count]

    @torch.jit.export
    def decode(self, x: Tensor) -> Tensor:
        """Latents `[B, D, l]` -> samples `[B, 1, l frame]`."""
        self.check(x.shape[0], self.frame)
        return self.play(self.push_latents(x), x.shape[2] * self.frame, self.window[0] - 1)

    def play(self, audio: Tensor, count: int, late: int) -> Tensor:
        """Queue what is ready behind so many frames and an edge of silence; the next `count` samples."""
        if not self.playing:
            self.sample_queue = torch.zeros([audio.shape[0], late * self.frame + self.edge], device=audio.device)
            self.playing = True
        queue = torch.cat([self.sample_queue, audio], dim=1)
        self.sample_queue = queue[:, count:]
        return queue[:, None, :count]

    def push_samples(self, block: Tensor) -> Tensor:
        """Samples `[B, n]` -> the latents that are final now, as `chunk_coding.Encoding` gives them."""
        length, overlap = self.window
        step = length - overlap
        if self.num_encoded == 0 and self.samples.shape[1] == 0:
            block = torch.cat([block[:, : self.edge].flip(1), block], dim=1)
        self.samples = torch.cat([self.samples, block], dim=1)
        final = [self.samples.new_zeros([block.shape[0], self.dim, 0])]
        size = length * self.frame + self.edge
        while self.samples.shape[1] >= size:
            values = self.encoder(self.samples[:, :size])
            values = values * self.weights(length, overlap, self.num_encoded == 0)
            if overlap > 0 and self.num_encoded > 0:
                values[:, :, :overlap] += self.encoded_tail
            final.append(values[:, :, :step])
            self.encoded_tail = values[:, :, step:]
            self.samples = self.samples[:, step * self.frame :]
            self.num_encoded += step
        return torch.cat(final, dim=2)

    def push_latents(self, latents: Tensor) -> Tensor:
        """Latents `[B, D, l]` -> the samples that are final now, as `chunk_coding.Decoding` gives them."""
        length, overlap = self.window
        step = length - overlap
        self.latents = torch.cat([self.latents, latents], dim=2)
        final = [self.latents.new_zeros([latents.shape[0], 0])]
        while self.latents.shape[2] >= length:
            batch, first = latents.shape[0], self.num_decoded == 0
            noise = self.noise(self.num_decoded, length).expand(batch, -1, -1, -1)
            weights = self.weights(length * self.columns, overlap * self.columns, first).expand(batch, -1)
            audio = self.decoder(self.latents[:, :, :length], noise, weights)
            if not first:
                audio[:, : self.decoded_tail.shape[1]] += self.decoded_tail
            final.append(audio[:, self.edge if first else 0 : step * self.frame].clamp(-1, 1))
            self.decoded_tail = audio[:, step * self.frame :]
            self.latents = self.latents[:, :, step:]
            self.num_decoded += step
        return torch.cat(final, dim=1)

    def weights(self, count: int, overlap: int, first: bool) -> Tensor:
        """`ChunkPlan.weights` of a chunk that is not the last."""
        weights = torch.ones([count], device=self.samples.device)
        if overlap > 0:
            centres = (torch.arange(overlap, device=self.samples.device) + 0.5) / overlap
            rise = ((centres - 0.375) / 0.25).clamp(0, 1)
            if not first:
                weights[:overlap] = rise
            weights[count - overlap :] = 1 - rise
        return weights

    def noise(self, start: int, count: int) -> Tensor:
        """Standard normal noise for latents of these positions, `[2, F, T]`.

        A function of seed and position, like the package's, but not the same one: NumPy's generators are not to be had
        here. Positions go through splitmix64, and pairs of 24 of its bits through Box and Muller's transform.
        """
        pairs = self.bins * self.columns
        counter = torch.arange(start * pairs, (start + count) * pairs, device=self.samples.device)
        z = (counter + 1) * -7046029254386353131 + self.seed[0] * -3335678366873096957
        z = (z ^ ((z >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
        z = (z ^ ((z >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
        z = z ^ ((z >> 31) & 0x1FFFFFFFF)
        radius = (-2 * ((((z >> 40) & 0xFFFFFF) + 0.5) / 16777216).log()).sqrt()
        angle = (z & 0xFFFFFF) * (6.283185307179586 / 16777216)
        normal = torch.stack([radius * angle.cos(), radius * angle.sin()])
        return normal.view(2, count, self.bins, self.columns).permute(0, 2, 1, 3).flatten(2)

    def check(self, batch: int, count: int) -> None:
        """Refuse blocks that are no whole frames; begin anew where the number of signals changes."""
        if count == 0 or count % self.frame != 0:
            raise ValueError(
                "a block of "
                + str(count)
                + " samples; accepted: multiples of "
                + str(self.frame)
                + ", nn~'s buffer size"
            )
        if batch != self.samples.shape[0]:
            self.reset(batch)

    @torch.jit.export
    def reset(self, batch: int) -> None:
        """Forget the stream."""
        device = self.samples.device
        self.samples = torch.zeros([batch, 0], device=device)
        self.latents = torch.zeros([batch, self.dim, 0], device=device)
        self.latent_queue = torch.zeros([batch, self.dim, self.window[0] - 1], device=device)
        self.num_encoded, self.num_decoded, self.playing = 0, 0, False

    @torch.jit.export
    def get_seed(self) -> int:
        """Seed of the decoder's noise."""
        return self.seed[0]

    @torch.jit.export
    def set_seed(self, seed: int) -> int:
        """Another seed from here on."""
        self.seed = (seed,)
        return 0

    @torch.jit.export
    def get_window(self) -> tuple[int, int]:
        """Length and overlap of chunks, in latents."""
        return self.window

    @torch.jit.export
    def set_window(self, length: int, overlap: int) -> int:
        """Other chunks, with which the stream begins anew; -1 if a chunk does not hold two overlaps."""
        if length < 1 or overlap < 0 or length < 2 * overlap:
            return -1
        self.window = (length, overlap)
        self.reset(self.samples.shape[0])
        return 0


def write(encoder: AudioEncoder, decoder: AudioDecoder, config: ModelConfig, path: Path, facts: Facts) -> None:
    """One file for nn~.

    Raises:
        InputError: a model whose edges are longer than its frames.
    """
    if config.edge > config.frame_size:
        raise InputError(f"frames of {config.frame_size} samples; an instrument needs at least {config.edge}")
    audio, *latents = example(config, *TRACED)
    encode, decode = (
        torch.jit.trace(network, inputs, check_trace=False)
        for network, inputs in ((encoder, (audio,)), (decoder, tuple(latents)))
    )
    with _scratch():
        instrument = Instrument(encode, decode, config).eval()
        scripted = torch.jit.script(instrument)
        instrument.tmp_file_session = None  # whose end would miss the folder
    save(scripted, path, facts)


@contextmanager
def _scratch() -> Iterator[None]:
    """A folder for the methods that nn_tilde generates, which it would write below its own installation."""
    before = codegen.TMP_FILE_OUTPUT
    with tempfile.TemporaryDirectory() as name:
        codegen.TMP_FILE_OUTPUT = Path(name)
        try:
            yield
        finally:
            codegen.TMP_FILE_OUTPUT = before


def load(path: Path) -> tuple[Run, Run]:
    """The networks inside the file, as functions of arrays."""
    loaded = torch.jit.load(str(path))
    return running(loaded.encoder), running(loaded.decoder)
