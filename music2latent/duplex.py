"""`music2latent live --devices`: from the microphone to the speakers, through the codec.

A sound card does not wait. It calls `Duplex.callback` for every few milliseconds; that only moves samples to and from
queues, and the codec works in `Duplex.work`, in another thread. Of what went wrong meanwhile it keeps count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

import numpy as np

from .chunks import ChunkPlan
from .codec import EncoderDecoder
from .errors import InputError
from .extras import require
from .streaming import StreamDecoder, StreamEncoder

MARGIN_SECONDS = 0.1
"""Silence played before the first sound that comes out, so that the next may take as much longer."""

RESAMPLED_SAMPLES = 2000
"""More of it where rates differ: the resampler hands out some 1200 samples at a time, which at 8000 Hz is long."""

MOST_SECONDS_BEHIND = 2.0
"""Sound that may wait for the codec; what is recorded beyond it is lost."""

SILENT_SECONDS = 5.0
"""A card that records nothing at all for so long has stopped."""

Callback = Callable[[np.ndarray, np.ndarray, int, Any, Any], None]
"""What `sounddevice.Stream` calls: samples in `[n, C]`, samples out `[n, C]` to be filled, n, times, status."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """Where sound comes from and goes to."""

    sample_rate: int
    channels: int
    """Of what is recorded, and coded; speakers may have more, which then all play a single one."""
    open: Callable[[Callback], AbstractContextManager[Any]]
    """Calls the callback from now on, until the context ends."""


class Duplex:
    """The codec between a card's two sides.

    Args:
        codec, plan, seed: as in `StreamEncoder` and `StreamDecoder`.
        sample_rate, channels: of the card.
    """

    def __init__(
        self, codec: EncoderDecoder, plan: ChunkPlan, *, sample_rate: int, channels: int, seed: int = 0
    ) -> None:
        self._encoder = StreamEncoder(codec, sample_rate=sample_rate, channels=channels, plan=plan)
        self._decoder = StreamDecoder(codec, sample_rate=sample_rate, channels=channels, plan=plan, seed=seed)
        self._sample_rate, self._channels = sample_rate, channels
        self._recorded: SimpleQueue[np.ndarray] = SimpleQueue()
        self._to_play: deque[np.ndarray] = deque()
        self._taken, self._began, self._starved = 0, False, False
        resampled = RESAMPLED_SAMPLES * (sample_rate != codec.sample_rate)
        self._margin = round(MARGIN_SECONDS * sample_rate) + resampled
        self.latency = self._decoder.latency / codec.sample_rate + (self._margin + resampled) / sample_rate
        """Seconds from in to out, at most, as long as nothing was played too late."""
        self.levels = (0.0, 0.0)
        """Peaks of what was recorded and played last."""
        self.gaps = 0
        """Times that there was nothing to play."""
        self.lost = 0
        """Blocks that were recorded in vain, by this or by the card."""

    @property
    def seconds(self) -> float:
        """Of sound that was coded."""
        return self._encoder.num_samples / self._sample_rate

    def callback(self, recorded: np.ndarray, played: np.ndarray, count: int, times: Any, status: Any) -> None:
        """Take a block `[n, C]`, give a block `[n, C]`; in the card's thread."""
        behind = self._taken - self._encoder.num_samples > MOST_SECONDS_BEHIND * self._sample_rate
        self.lost += behind or bool(getattr(status, "input_overflow", False))
        if not behind:
            self._recorded.put(recorded.T.copy())
            self._taken += count
        filled = 0
        while filled < count and self._to_play:
            block = self._to_play.popleft()
            part = block[:, : count - filled]
            played[filled : filled + part.shape[1]] = part.T
            filled += part.shape[1]
            if part.shape[1] < block.shape[1]:
                self._to_play.appendleft(block[:, part.shape[1] :])
        played[filled:] = 0
        starved = self._began and filled < count
        self.gaps += starved and not self._starved
        self._starved = starved
        self.levels = (float(np.abs(recorded).max(initial=0)), float(np.abs(played).max(initial=0)))

    def work(self, timeout: float = 0.1) -> bool:
        """Code the next block that was recorded; False if none came in time.

        Raises:
            InputError: samples that are no numbers.
        """
        try:
            block = self._recorded.get(timeout=timeout)
        except Empty:
            return False
        heard = self._decoder.push(self._encoder.push(block))
        if heard.shape[1]:
            if not self._began:
                self._to_play.append(np.zeros((self._channels, self._margin), np.float32))
            self._to_play.append(heard)
            self._began = True
        return True


def run(card: Card, duplex: Duplex, stop: Event, show: Callable[[Duplex], None]) -> None:
    """Code what the card records and play what comes of it, until the event is set; `show` is told now and then.

    Raises:
        InputError: the card stopped.
    """
    silent = 0.0
    with card.open(duplex.callback):
        while not stop.is_set():
            silent = 0.0 if duplex.work(timeout=0.1) else silent + 0.1
            if silent > SILENT_SECONDS:
                raise InputError(f"the sound card recorded nothing for {SILENT_SECONDS:g} s; is it still plugged in?")
            show(duplex)


# ------------------------------------------------------------------------------------------------ PortAudio's cards


def find_card(
    recording: int | str | None, playing: int | str | None, *, sample_rate: int | None, channels: int
) -> Card:
    """PortAudio's devices by number or part of their name, None for the system's own choice.

    Args:
        recording, playing: the two devices.
        sample_rate: in Hz, by default what the recording one prefers.
        channels: to be recorded.

    Raises:
        InputError: no PortAudio, no such device, or one that does not do that.
    """
    portaudio = _portaudio()
    try:
        source, target = (
            portaudio.query_devices(device, kind) for device, kind in ((recording, "input"), (playing, "output"))
        )
        rate = round(source["default_samplerate"]) if sample_rate is None else sample_rate
        outputs = max(channels, min(2, target["max_output_channels"]))
        portaudio.check_input_settings(source["index"], channels=channels, dtype="float32", samplerate=rate)
        portaudio.check_output_settings(target["index"], channels=outputs, dtype="float32", samplerate=rate)
    except (portaudio.PortAudioError, ValueError) as error:
        raise InputError(_reason(portaudio, error)) from error

    def opened(callback: Callback) -> AbstractContextManager[Any]:
        try:
            return portaudio.Stream(
                device=(source["index"], target["index"]),
                channels=(channels, outputs),
                samplerate=rate,
                dtype="float32",
                callback=callback,
            )
        except portaudio.PortAudioError as error:
            raise InputError(_reason(portaudio, error)) from error

    return Card(sample_rate=rate, channels=channels, open=opened)


def list_devices() -> str:
    """A line for each device that PortAudio knows; `>` and `<` are the system's choice.

    Raises:
        InputError: no PortAudio, or no device.
    """
    portaudio = _portaudio()
    devices = portaudio.query_devices()
    if not devices:
        raise InputError(_NONE)
    return str(devices)


_NONE = (
    "no sound card that PortAudio can use; between pipes live works without one: PLAYER | music2latent live | PLAYER"
)


def _portaudio() -> Any:
    require("live")
    try:
        import sounddevice
    except OSError as error:
        raise InputError(
            f"{error}; sounddevice needs it: apt-get install libportaudio2, or brew install portaudio"
        ) from error
    return sounddevice


def _reason(portaudio: Any, error: Exception) -> str:
    if not portaudio.query_devices():
        return _NONE
    return f"sound devices: {' '.join(str(error).split())}; see music2latent live --list-devices"
