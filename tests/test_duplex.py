"""From the microphone to the speakers, with stand-ins for the sound card: nothing here opens a device."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from music2latent import EncoderDecoder, InputError, duplex
from music2latent.duplex import MARGIN_SECONDS, Callback, Card, Duplex, find_card, list_devices
from music2latent.streaming import LIVE, StreamDecoder, StreamEncoder

from .helpers import noise

WELL = SimpleNamespace(input_overflow=False)


def _call(two: Duplex, recorded: np.ndarray, channels: int, status: Any = WELL) -> np.ndarray:
    """One call of the card, with a block `[C, n]`, and what is played then, `[C', n]`."""
    played = np.full((recorded.shape[1], channels), np.nan, np.float32)
    two.callback(recorded.T, played, recorded.shape[1], None, status)
    return played.T


@pytest.mark.parametrize(
    ("rate", "channels", "speakers", "block"), [(44100, 1, 2, 441), (48000, 2, 2, 1024), (8000, 1, 1, 77)]
)
def test_what_is_played_is_what_the_streams_give(
    tiny: EncoderDecoder, rate: int, channels: int, speakers: int, block: int
) -> None:
    signal = noise(channels, round(1.6 * rate) // block * block)
    two = Duplex(tiny, LIVE, sample_rate=rate, channels=channels, seed=3)
    played = []
    for part in np.split(signal, signal.shape[1] // block, axis=1):
        played.append(_call(two, part, speakers))
        assert two.work()
    found = np.concatenate(played, axis=1)
    encoder = StreamEncoder(tiny, sample_rate=rate, channels=channels)
    decoder = StreamDecoder(tiny, sample_rate=rate, channels=channels, seed=3)
    expected = decoder.push(encoder.push(signal))
    begin = int(np.abs(found).any(axis=0).argmax())
    length = found.shape[1] - begin
    assert length > rate / 4
    assert np.allclose(found[:, begin:], expected[:, :length], atol=1e-4)
    assert begin / rate <= two.latency
    assert begin / rate > MARGIN_SECONDS
    assert (two.gaps, two.lost) == (0, 0)
    assert two.seconds == signal.shape[1] / rate
    assert not two.work(timeout=0)


def test_a_codec_that_is_late_leaves_a_gap_and_no_more(tiny: EncoderDecoder) -> None:
    two, signal = Duplex(tiny, LIVE, sample_rate=44100, channels=1), noise(1, 24 * 4096)
    played = []
    for number, part in enumerate(np.split(signal, 24, axis=1)):
        played.append(_call(two, part, 1))
        if not 10 < number < 20:  # it is away for about a second
            while two.work(timeout=0):
                pass
    assert two.gaps == 1
    assert two.lost == 0
    found = np.concatenate(played, axis=1)[0]
    sounding = found[found != 0]
    encoder, decoder = StreamEncoder(tiny), StreamDecoder(tiny)
    assert np.allclose(sounding, decoder.push(encoder.push(signal))[0, : len(sounding)], atol=1e-4)


def test_what_is_recorded_in_vain_is_counted_and_not_kept(tiny: EncoderDecoder) -> None:
    two, block = Duplex(tiny, LIVE, sample_rate=8000, channels=1), noise(1, 800)
    for _ in range(25):
        _call(two, block, 1)
    assert two.lost == 4  # after 2 s and the block that fills them
    while two.work(timeout=0):
        pass
    assert two.seconds == pytest.approx(2.1)
    _call(two, block, 1, SimpleNamespace(input_overflow=True))
    assert two.lost == 5
    assert two.levels[0] == pytest.approx(float(np.abs(block).max()))


def _card(blocks: list[np.ndarray], stop: Event | None) -> Card:
    """A card that records these, and then nothing; a loopback file in place of a device."""

    @contextmanager
    def opened(callback: Callback) -> Iterator[None]:
        def play() -> None:
            for block in blocks:
                callback(block.T, np.empty((block.shape[1], 2), np.float32), block.shape[1], None, WELL)
                time.sleep(0.001)
            if stop:
                stop.set()

        thread = Thread(target=play)
        thread.start()
        yield
        thread.join()

    return Card(sample_rate=8000, channels=1, open=opened)


def test_it_runs_until_it_is_stopped(tiny: EncoderDecoder) -> None:
    stop, shown = Event(), []
    card = _card([noise(1, 80)] * 100, stop)
    two = Duplex(tiny, LIVE, sample_rate=8000, channels=1)
    duplex.run(card, two, stop, lambda now: shown.append(now.levels[0]))
    assert two.seconds > 0.5
    assert max(shown) > 0


def test_a_card_that_falls_silent_is_said(tiny: EncoderDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplex, "SILENT_SECONDS", 0.2)
    with pytest.raises(InputError, match="recorded nothing for 0.2 s"):
        duplex.run(_card([], None), Duplex(tiny, LIVE, sample_rate=8000, channels=1), Event(), lambda now: None)


# ------------------------------------------------------------------------------------------------ PortAudio's cards


class _PortAudio(ModuleType):
    """A stand-in for the package sounddevice, with one card of two channels at 48000 Hz, or with none."""

    class PortAudioError(Exception):
        pass

    def __init__(self, *cards: str) -> None:
        super().__init__("sounddevice")
        self.__spec__ = SimpleNamespace()  # type: ignore[assignment]
        self.cards = cards
        self.opened: dict[str, Any] = {}

    def query_devices(self, device: Any = None, kind: str | None = None) -> Any:
        if kind is None:
            return self.cards
        if not self.cards:
            raise self.PortAudioError("Error querying device -1")
        if device not in (None, 0, self.cards[0]):
            raise ValueError(f"No {kind} device matching {device!r}")
        return {"index": 0, "default_samplerate": 48000.0, "max_output_channels": 2}

    def check_input_settings(self, device: int, channels: int, dtype: str, samplerate: int) -> None:
        if channels > 2:
            raise self.PortAudioError("Invalid number of channels\n[PaErrorCode -9998]")

    check_output_settings = check_input_settings

    def Stream(self, **options: Any) -> Any:
        self.opened = options
        return "stream"


def _use(monkeypatch: pytest.MonkeyPatch, *cards: str) -> _PortAudio:
    monkeypatch.setitem(sys.modules, "sounddevice", found := _PortAudio(*cards))
    return found


def test_a_card_is_opened_as_it_likes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    portaudio = _use(monkeypatch, "card")
    card = find_card("card", None, sample_rate=None, channels=1)
    assert (card.sample_rate, card.channels) == (48000, 1)
    assert card.open(lambda *_: None) == "stream"  # type: ignore[comparison-overlap]
    assert portaudio.opened["channels"] == (1, 2)
    assert portaudio.opened["samplerate"] == 48000
    assert find_card(0, 0, sample_rate=8000, channels=2).sample_rate == 8000
    assert "card" in list_devices()


@pytest.mark.parametrize(
    ("cards", "device", "channels", "message"),
    [
        ((), None, 1, "no sound card that PortAudio can use"),
        (("card",), "other", 1, "No input device matching 'other'; see music2latent live --list-devices"),
        (("card",), 7, 1, "No input device matching 7"),
        (("card",), None, 3, r"Invalid number of channels \[PaErrorCode -9998\]; see"),
    ],
)
def test_devices_that_cannot_be_used_are_one_line(
    monkeypatch: pytest.MonkeyPatch, cards: tuple[str, ...], device: Any, channels: int, message: str
) -> None:
    _use(monkeypatch, *cards)
    with pytest.raises(InputError, match=message) as error:
        find_card(device, None, sample_rate=None, channels=channels)
    assert "\n" not in str(error.value)
    if not cards:
        with pytest.raises(InputError, match=message):
            list_devices()


def test_without_portaudio_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.setattr(duplex, "require", lambda extra: None)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder()])
    with pytest.raises(InputError, match="PortAudio library not found; sounddevice needs it: apt-get install"):
        list_devices()
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(InputError, match=r"pip install 'music2latent\[live\]'"):
        list_devices()
