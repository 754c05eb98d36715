from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from music2latent import EncoderDecoder, Latents

from ..helpers import (
    CLIP,
    Result,
    audio_file,
    check_refused,
    disk_with,
    file_facts,
    posix,
    relative_error,
    sound,
)


def test_encode_then_decode(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "song.flac", 2, 20000, 48000)
    done = Result("encode", song, "-m", model, "--dtype", "float32")
    assert done.code == 0, done.err
    latents = Latents.load(tmp_path / "song.m2l")
    assert done.out == f"{tmp_path / 'song.m2l'}: 2 x 64 x 5, {latents.bitrate():.1f} kbit/s\n"
    done = Result("decode", tmp_path / "song.m2l", "-m", model, "-f", "ogg", "--dtype", "float32")
    assert done.code == 0, done.err
    assert file_facts(tmp_path / "song.decoded.ogg") == (48000, 2, 20000)
    assert sorted(os.listdir(tmp_path)) == ["song.decoded.ogg", "song.flac", "song.m2l"]


def test_decoding_never_takes_the_originals_name(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav")
    original = song.read_bytes()
    assert Result("encode", song, "-m", model).code == 0
    assert Result("decode", tmp_path / "a.m2l", "-m", model).code == 0
    check_refused(tmp_path, "a.decoded.wav: exists already", "decode", tmp_path / "a.m2l", "-m", model)
    done = Result("decode", tmp_path / "a.m2l", "-m", model, "--force")
    assert (done.code, done.err) == (0, f"note: replaced {tmp_path / 'a.decoded.wav'}, which existed\n")
    assert song.read_bytes() == original
    assert Result("encode", tmp_path, "-m", model, "--force").code == 0  # and what was decoded is not encoded again
    assert sorted(os.listdir(tmp_path)) == ["a.decoded.wav", "a.m2l", "a.wav"]


def test_a_file_for_another_verb(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "song.wav")
    check_refused(tmp_path, "song.wav: audio, not latents; encode makes", "decode", song, "-m", model)
    assert Result("encode", song, "-m", model).code == 0
    check_refused(tmp_path, "song.m2l: latents already; decode makes", "encode", tmp_path / "song.m2l", "-m", model)
    check_refused(tmp_path, "latents, not audio; decode makes", "reconstruct", tmp_path / "song.m2l", "-m", model)


def test_features(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav", 2, 30000, 48000)
    done = Result("encode", song, "-m", model, "--features", "--dtype", "float32")
    assert (done.code, done.out) == (0, f"{tmp_path / 'a.npy'}: 2 x 1024 x 8\n"), done.err
    stored = np.load(tmp_path / "a.npy")
    codec = EncoderDecoder(model=model, dtype="float32")
    latents = codec.compress(song, features=True)
    assert latents.features is not None
    assert stored.dtype == np.float16
    assert relative_error(stored, latents.features) < 1e-3
    assert latents.features.shape == (2, codec.feature_dim, latents.values.shape[-1])
    assert sorted(os.listdir(tmp_path)) == ["a.npy", "a.wav"]
    check_refused(tmp_path, "features are written to files ending in .npy", "encode", song, "--features", "-o", "b.m2l")


@posix
def test_streams(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav")
    command = (sys.executable, "-m", "music2latent", "encode", "-m", model, "-o", tmp_path / "b.m2l")
    for name in ("-", "/dev/stdin"):
        with song.open("rb") as file:
            reader, writer = os.pipe()
            process = subprocess.Popen([*command, name, "--force"], stdin=reader)
            os.close(reader)
            with os.fdopen(writer, "wb") as pipe:
                pipe.write(file.read())
        assert process.wait(60) == 0
        assert Latents.load(tmp_path / "b.m2l").num_samples == 9000
    check_refused(tmp_path, "a stream has no place for results beside it; give --output", "encode", "-", "-m", model)


@pytest.mark.parametrize("stored", ["PCM_24", "FLOAT"])
def test_depth_is_kept_or_chosen(tmp_path: Path, model: str, stored: str) -> None:
    soundfile.write(tmp_path / "a.wav", sound(1, 9000)[0], 44100, subtype=stored)

    def subtype(*options: object, suffix: str = ".wav") -> str:
        target = tmp_path / f"b{suffix}"
        assert Result("reconstruct", tmp_path / "a.wav", "-m", model, "-o", target, "--force", *options).code == 0
        return str(soundfile.info(target).subtype)

    assert subtype() == stored
    assert subtype(suffix=".flac") == "PCM_24"
    assert subtype("--subtype", "PCM_16") == "PCM_16"
    check_refused(
        tmp_path,
        ".flac cannot hold FLOAT; accepted",
        "reconstruct",
        tmp_path / "a.wav",
        "-m",
        model,
        "-f",
        "flac",
        "--subtype",
        "FLOAT",
    )


@pytest.mark.parametrize(
    ("name", "rate", "channels", "samples"),
    [("a.mp3", 48000, 2, 24000), ("a.flac", 22050, 1, 11025), ("a.wav", 44100, 1, 441)],
)
@pytest.mark.parametrize("format", ["wav", "same"])
def test_reconstruct_keeps_length_rate_and_channels(
    tmp_path: Path, model: str, name: str, rate: int, channels: int, samples: int, format: str
) -> None:
    song = audio_file(tmp_path / name, channels, samples, rate)
    suffix = song.suffix if format == "same" else ".wav"
    done = Result("reconstruct", song, "-m", model, "--format", suffix[1:])
    assert done.code == 0, done.err
    assert file_facts(tmp_path / f"a.reconstructed{suffix}") == (rate, channels, samples)
    assert f"{samples / rate:.2f} s, {rate} Hz, {channels} channels" in done.out


def test_reconstruct_with_the_bundled_model_and_a_picture(tmp_path: Path) -> None:
    done = Result("reconstruct", CLIP, "-o", tmp_path / "out.wav", "--plot")
    assert done.code == 0, done.err
    assert file_facts(tmp_path / "out.wav") == file_facts(CLIP)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    for line in ("audio ", "picture ", "length ", "bitrate ", "speed "):
        assert line in done.out


def test_seed_steps_and_dtype(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav")

    def run(*options: object) -> bytes:
        common = ("-m", model, "-o", tmp_path / "b.wav", "--force", "--dtype", "float32")
        assert Result("reconstruct", song, *common, *options).code == 0
        return (tmp_path / "b.wav").read_bytes()

    first = run()
    assert run("--seed", 0) == first
    assert run("--seed", 1) != first
    assert run("--steps", 2) != first
    assert run("--dtype", "bfloat16") != first


def test_48_khz_and_float32(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav", 1, 96000, 48000)
    assert Result("encode", song, "-m", model, "--coding-rate", 48000, "--save-dtype", "float32").code == 0
    latents = Latents.load(tmp_path / "a.m2l")
    assert latents.coding_rate == 48000
    assert (tmp_path / "a.m2l").stat().st_size > 4 * latents.values.numel()


def test_refused_inputs(tmp_path: Path, model: str) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("text " * 100)
    (tmp_path / "folder").mkdir()
    soundfile.write(tmp_path / "nan.wav", np.full(9000, np.nan), 44100, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 44100)
    cut = audio_file(tmp_path / "cut.flac", 1, 90000)
    cut.write_bytes(cut.read_bytes()[:-1000])
    (tmp_path / "cut.m2l").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    for name, message in {
        "missing.wav": "no such file",
        "empty.wav": "an empty file (0 bytes)",
        "text.wav": "not audio that can be read",
        "folder": "a folder without files to work on",
        "nan.wav": "NaN or infinite at sample 0",
        "none.wav": "without samples",
        "cut.flac": "damaged after sample",
    }.items():
        check_refused(tmp_path, message, "reconstruct", tmp_path / name, "-m", model)
    check_refused(tmp_path, "truncated, or not a .m2l file", "decode", tmp_path / "cut.m2l", "-m", model)
    check_refused(tmp_path, "no such file", "decode", tmp_path / "missing.m2l", "-m", model)


def test_refused_options(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav")
    for message, *options in (
        ("unknown model 'maxi'", "-m", "maxi"),
        ("dtype 'int4'; accepted", "--dtype", "int4"),
        ("device 'warp'", "--device", "warp"),
        ("--format ../../x: accepted are wav, flac", "-f", "../../x"),
        ("cannot hold 44100 Hz", "-f", "opus"),
        ("coding_rate = 1; accepted", "--coding-rate", 1),
        ("seed = -1; accepted", "--seed", -1),
        ("would replace its own input", "-o", song, "--force"),
    ):
        check_refused(
            tmp_path, str(message), "reconstruct", song, *(options if "-m" in options else ["-m", model, *options])
        )
    check_refused(tmp_path, "No such option", "reconstruct", song, "--sed", "1", code=2)
    check_refused(tmp_path, "Missing argument", "encode", code=2)
    check_refused(tmp_path, "--steps", "reconstruct", song, "--steps", "0", code=2)


def test_another_model_is_named(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav")
    assert Result("encode", song, "-m", model).code == 0
    song.unlink()
    check_refused(tmp_path, "latents of model 'tiny'", "decode", tmp_path / "a.m2l")


def test_never_overwrites_without_force(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav")
    (tmp_path / "a.m2l").write_text("precious")
    check_refused(tmp_path, "exists already; choose another --output, or overwrite it with --force", "encode", song)
    check_refused(tmp_path, "--skip-existing", "encode", song, "--force", "--skip-existing", code=2)
    assert Result("encode", song, "-m", model, "--force").code == 0
    assert Latents.load(tmp_path / "a.m2l").num_samples == 9000
    (tmp_path / "a.reconstructed.png").write_text("precious")
    check_refused(tmp_path, "a.reconstructed.png: exists already", "reconstruct", song, "-m", model, "--plot")


def test_full_disk_and_unwritable_folder(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav")
    check_refused(tmp_path, "cannot be written", "encode", song, "-m", model, "-o", song / "a.m2l")
    with disk_with(500):
        check_refused(tmp_path, "cannot be written", "encode", song, "-m", model)
        check_refused(tmp_path, "cannot be written", "reconstruct", song, "-m", model)
