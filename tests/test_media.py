"""Containers that libsndfile does not read: through PyAV, whole, to the sample and in small blocks."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from music2latent import InputError, audio, media

from .helpers import sound

av: Any = pytest.importorskip("av")

N, RATE = 30_001, 48000
LOSSLESS = {
    "a.m4a": ("alac", "s16p"),
    "a.mov": ("pcm_s16le", "s16"),
    "a.mka": ("flac", "s16"),
    "a.avi": ("pcm_s16le", "s16"),
    "float.mkv": ("pcm_f32le", "flt"),
    "deep.mov": ("pcm_s24le", "s32"),
}
LOSSY = {"b.m4a": ("aac", "fltp"), "b.webm": ("libopus", "flt"), "b.mp4": ("aac", "fltp")}


def _add_picture(container: Any) -> None:
    """3 s of it."""
    video = container.add_stream("mpeg4", rate=10)
    video.width = video.height = 64
    for _ in range(30):
        container.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
    container.mux(video.encode())


def _encode(
    path: Path, codec: str, format: str, layout: str = "stereo", *, picture: bool = False, n: int = N
) -> np.ndarray:
    """Write a file with PyAV; returns what went in, `[C, n]` float32."""
    channels = av.AudioLayout(layout).nb_channels
    samples = sound(channels, n)
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=RATE, layout=layout)
        track.format, track.bit_rate = format, 128_000
        if picture:
            _add_picture(container)
        frame = av.AudioFrame.from_ndarray(samples.T.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate, frame.pts = RATE, 0
        for part in av.AudioResampler(format=format, layout=layout, rate=RATE, frame_size=1024).resample(frame):
            container.mux(track.encode(part))
        container.mux(track.encode())
    return samples


def _read(file: Any) -> np.ndarray:
    source = audio.open_audio(file)
    samples = np.concatenate(list(source.blocks()), axis=1)
    assert samples.shape == (source.channels, source.num_samples)
    assert samples.dtype == np.float32
    return samples


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_to_the_sample(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    samples = _encode(path, *LOSSLESS[name])
    found = _read(path)
    np.testing.assert_allclose(found[:, : N // 1024 * 1024], samples[:, : N // 1024 * 1024], atol=1 / 32768)
    assert abs(found.shape[1] - N) < 1024
    assert np.array_equal(_read(path.read_bytes()), found)
    assert np.array_equal(audio.read_part(path, 12_345, 6789), found[:, 12_345 : 12_345 + 6789])
    with pytest.raises(InputError, match="truncated, ends before sample"):
        audio.read_part(path, N, 9000)
    assert audio.open_audio(path).subtype == {"f": "FLOAT", "d": "PCM_24"}.get(name[0], LOSSLESS[name][0].upper())


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_begins_where_it_began(tmp_path: Path, name: str) -> None:
    """What an encoder puts before the sound is cut off; after it, less than two of its blocks may be left."""
    samples = _encode(tmp_path / name, *LOSSY[name])
    found = _read(tmp_path / name)
    assert -2048 < found.shape[1] - N < 4096
    n = min(found.shape[1], N) - 4096
    error = found[:, :n] - samples[:, :n]
    assert np.linalg.norm(error) < 0.3 * np.linalg.norm(samples[:, :n])


@pytest.mark.parametrize("layout", ["mono", "3.0", "5.1", "7.1(wide)", "hexadecagonal"])
def test_any_layout(tmp_path: Path, layout: str) -> None:
    codec = ("pcm_s16le", "s16") if layout == "hexadecagonal" else ("alac", "s16p")
    samples = _encode(tmp_path / "a.mov", *codec, layout)
    np.testing.assert_allclose(_read(tmp_path / "a.mov")[:, :20_000], samples[:, :20_000], atol=1 / 32768)


def test_video_gives_its_sound(tmp_path: Path) -> None:
    samples = _encode(tmp_path / "a.mkv", "flac", "s16", picture=True)
    np.testing.assert_allclose(_read(tmp_path / "a.mkv")[:, :20_000], samples[:, :20_000], atol=1 / 32768)
    with av.open(str(tmp_path / "silent.mp4"), "w") as container:
        _add_picture(container)
    with pytest.raises(InputError, match="without an audio track that can be read"):
        audio.open_audio(tmp_path / "silent.mp4")


def test_blocks_are_small(tmp_path: Path) -> None:
    _encode(tmp_path / "a.mka", "flac", "s16", "mono", n=300_000)
    sizes = [block.shape[1] for block in audio.open_audio(tmp_path / "a.mka").blocks()]
    assert len(sizes) == 3
    assert max(sizes) < audio.BLOCK_SAMPLES + 5000


@pytest.mark.parametrize("name", ["a.m4a", "a.mka", "a.avi", "b.wma", "b.webm"])
def test_cut_or_damaged(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    _encode(path, *(LOSSLESS | LOSSY | {"b.wma": ("wmav2", "fltp")})[name])
    content = path.read_bytes()
    for cut in (1, 99, len(content) // 3, len(content) - 100):
        with pytest.raises(InputError, match=rf"{name}: "):
            path.write_bytes(content[:-cut])
            _read(path)
    rng = np.random.default_rng(0)
    for _ in range(20):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[rng.integers(0, 600, 3)] = rng.integers(0, 256, 3)
        with suppress(InputError):
            _read(damaged.tobytes())


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _encode(tmp_path / "a.m4a", "aac", "fltp")
    monkeypatch.setitem(sys.modules, "av", None)
    message = r"a.m4a: av not installed; run: pip install 'music2latent\[media\]'; or convert it: ffmpeg -i IN OUT.wav"
    with pytest.raises(InputError, match=message):
        audio.open_audio(tmp_path / "a.m4a")


def test_nothing_else_is_left_to_ffmpeg(tmp_path: Path) -> None:
    """A list of other files, which FFmpeg would follow."""
    (tmp_path / "a.m4a").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match="not audio that can be read"):
        audio.open_audio(tmp_path / "a.m4a")
    assert media.demuxer(io.BytesIO(b"RIFF\0\0\0\0WAVE").read()) is None
