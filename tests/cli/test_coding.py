from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from music2latent import Latents, __version__
from music2latent.audio import write_audio
from music2latent.checkpoint import read_checkpoint, write_safetensors
from music2latent.cli import main

from ..helpers import CLIP, reference_checkpoint, sound
from ..test_audio import disk_with


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small model, so that tests are quick."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    write_safetensors(path, reference_checkpoint("tiny"))
    return str(path)


class Result:
    """One run of the command line, in this process: importing torch anew for each would take most of the time."""

    def __init__(self, *arguments: object) -> None:
        out, err = io.StringIO(), io.StringIO()
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with (
                pytest.MonkeyPatch.context() as patch,
                redirect_stdout(out),
                redirect_stderr(err),
                pytest.raises(SystemExit) as exit,
            ):
                patch.setattr(sys, "argv", ["music2latent", *map(str, arguments)])
                main()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        self.out, self.err, self.code = out.getvalue(), err.getvalue(), exit.value.code or 0


def _audio(path: Path, channels: int = 1, samples: int = 9000, rate: int = 44100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, [sound(channels, samples)], rate, channels, samples)
    return path


def _facts(path: Path) -> tuple[int, int, int]:
    info = soundfile.info(path)
    return info.samplerate, info.channels, info.frames


# --------------------------------------------------------------------------- the main job


def test_encode_then_decode(tmp_path: Path, model: str) -> None:
    source = _audio(tmp_path / "song.flac", 2, 20000, 48000)
    done = Result("encode", source, "-m", model, "--dtype", "float32")
    assert done.code == 0, done.err
    latents = Latents.load(tmp_path / "song.m2l")
    assert done.out == f"{tmp_path}/song.m2l: 2 x 64 x 5, {latents.bitrate():.1f} kbit/s\n"
    done = Result("decode", tmp_path / "song.m2l", "-m", model, "-f", "ogg", "--dtype", "float32")
    assert done.code == 0, done.err
    assert _facts(tmp_path / "song.ogg") == (48000, 2, 20000)
    assert sorted(os.listdir(tmp_path)) == ["song.flac", "song.m2l", "song.ogg"]


@pytest.mark.parametrize(
    ("name", "rate", "channels", "samples"),
    [("a.mp3", 48000, 2, 24000), ("a.flac", 22050, 1, 11025), ("a.wav", 44100, 1, 441)],
)
@pytest.mark.parametrize("format", ["wav", "same"])
def test_reconstruct_keeps_length_rate_and_channels(
    tmp_path: Path, model: str, name: str, rate: int, channels: int, samples: int, format: str
) -> None:
    source = _audio(tmp_path / name, channels, samples, rate)
    suffix = source.suffix if format == "same" else ".wav"
    done = Result("reconstruct", source, "-m", model, "--format", suffix[1:])
    assert done.code == 0, done.err
    assert _facts(tmp_path / f"a.reconstructed{suffix}") == (rate, channels, samples)
    assert f"{samples / rate:.2f} s, {rate} Hz, {channels} channels" in done.out


def test_reconstruct_with_the_bundled_model_and_a_picture(tmp_path: Path) -> None:
    done = Result("reconstruct", CLIP, "-o", tmp_path / "out.wav", "--plot")
    assert done.code == 0, done.err
    assert _facts(tmp_path / "out.wav") == _facts(CLIP)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    for line in ("audio ", "picture ", "length ", "bitrate ", "speed "):
        assert line in done.out


def test_seed_steps_and_dtype(tmp_path: Path, model: str) -> None:
    source = _audio(tmp_path / "a.wav")

    def run(*options: object) -> bytes:
        common = ("-m", model, "-o", tmp_path / "b.wav", "--force", "--dtype", "float32")
        assert Result("reconstruct", source, *common, *options).code == 0
        return (tmp_path / "b.wav").read_bytes()

    first = run()
    assert run("--seed", 0) == first
    assert run("--seed", 1) != first
    assert run("--steps", 2) != first
    assert run("--dtype", "bfloat16") != first


def test_48_khz_and_float32(tmp_path: Path, model: str) -> None:
    source = _audio(tmp_path / "a.wav", 1, 96000, 48000)
    assert Result("encode", source, "-m", model, "--coding-rate", 48000, "--float32").code == 0
    latents = Latents.load(tmp_path / "a.m2l")
    assert latents.coding_rate == 48000
    assert (tmp_path / "a.m2l").stat().st_size > 4 * latents.values.numel()


def test_folders_are_mirrored_and_one_bad_file_does_not_stop_the_rest(tmp_path: Path, model: str) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.wav", "deep/b.flac", "deep/er/c.ogg"):
        _audio(folder / name)
    (folder / "deep" / "bad.wav").write_text("not audio")
    (folder / "notes.txt").write_text("not audio either, and nobody said so")
    done = Result("encode", folder, "-m", model, "-o", out)
    assert done.code == 1
    assert "bad.wav: not audio" in done.err
    assert "1 of 4 failed; the rest is done" in done.err
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == ["a.m2l", "deep/b.m2l", "deep/er/c.m2l"]
    assert Result("decode", out, "-m", model, "-f", "flac").code == 0
    assert (out / "deep" / "er" / "c.flac").exists()


def test_several_files(tmp_path: Path, model: str) -> None:
    files = [_audio(tmp_path / "a.wav"), _audio(tmp_path / "b.wav")]
    assert Result("encode", *files, "-m", model, "-o", tmp_path / "out").code == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["a.m2l", "b.m2l"]


def test_info(tmp_path: Path, model: str) -> None:
    source = _audio(tmp_path / "a.wav", 2)
    assert Result("encode", source, "-m", model).code == 0
    done = Result("info", "--json", source, tmp_path / "a.m2l", model, "mini")
    assert done.code == 0, done.err
    audio, latents, tiny, mini = map(json.loads, done.out.splitlines())
    assert (audio["sample_rate"], audio["channels"], audio["num_samples"]) == (44100, 2, 9000)
    assert (latents["shape"], latents["model_id"]) == ([2, 64, 3], "tiny")
    assert latents["fingerprint"] == tiny["fingerprint"]
    assert (mini["num_parameters"], mini["frame_rate"]) == (8838242, 10.767)
    plain = Result("info", source, "missing.wav")
    assert "sample_rate    44100" in plain.out
    assert "missing.wav: no such file" in plain.err
    assert plain.code == 1


def test_convert(tmp_path: Path) -> None:
    weights = dict(reference_checkpoint("tiny").state_dict)
    torch.save({"gen_state_dict": weights}, tmp_path / "a.pt")
    done = Result("convert", tmp_path / "a.pt", tmp_path / "a.safetensors", "--license", "CC0", "--window", 8, 2)
    assert done.code == 0, done.err
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert (read.license, read.model_id, read.window) == ("CC0", "a", (8, 2))
    assert all(torch.equal(read.state_dict[key], weight) for key, weight in weights.items())
    assert "exists already" in Result("convert", tmp_path / "a.pt", tmp_path / "a.safetensors").err
    half = Result("convert", tmp_path / "a.pt", tmp_path / "a.safetensors", "--half", "--force")
    assert half.code == 0
    assert read_checkpoint(tmp_path / "a.safetensors").state_dict["conv_inp.bias"].dtype == torch.float16
    assert "ending in .safetensors" in Result("convert", tmp_path / "a.pt", tmp_path / "b.pt").err


# --------------------------------------------------------------------------- refusals: one line, no traceback, no file


def _refused(tmp_path: Path, message: str, *arguments: object, code: int = 1) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = Result(*arguments)
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.code == code
    if code == 1:
        assert len(done.err.splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_refused_inputs(tmp_path: Path, model: str) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("text " * 100)
    (tmp_path / "folder").mkdir()
    soundfile.write(tmp_path / "nan.wav", np.full(9000, np.nan), 44100, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 44100)
    cut = _audio(tmp_path / "cut.flac", 1, 90000)
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
        _refused(tmp_path, message, "reconstruct", tmp_path / name, "-m", model)
    _refused(tmp_path, "truncated, or not a .m2l file", "decode", tmp_path / "cut.m2l", "-m", model)
    _refused(tmp_path, "no such file", "decode", tmp_path / "missing.m2l", "-m", model)


def test_refused_options(tmp_path: Path, model: str) -> None:
    source = _audio(tmp_path / "a.wav")
    for message, *options in (
        ("unknown model 'maxi'", "-m", "maxi"),
        ("dtype 'int4'; accepted", "--dtype", "int4"),
        ("device 'warp' is not usable", "--device", "warp"),
        ("cannot write .xyz; accepted: .wav", "-f", "xyz"),
        ("cannot hold 44100 Hz", "-f", "opus"),
        ("coding_rate = 1; accepted", "--coding-rate", 1),
        ("seed = -1; accepted", "--seed", -1),
        ("would replace its own input", "-o", source, "--force"),
    ):
        _refused(
            tmp_path, str(message), "reconstruct", source, *(options if "-m" in options else ["-m", model, *options])
        )
    _refused(tmp_path, "No such option", "reconstruct", source, "--sed", "1", code=2)
    _refused(tmp_path, "Missing argument", "encode", code=2)
    _refused(tmp_path, "--steps", "reconstruct", source, "--steps", "0", code=2)


def test_another_model_is_named(tmp_path: Path, model: str) -> None:
    source = _audio(tmp_path / "a.wav")
    assert Result("encode", source, "-m", model).code == 0
    source.unlink()
    _refused(tmp_path, "latents of model 'tiny'", "decode", tmp_path / "a.m2l")


def test_never_overwrites_without_force(tmp_path: Path, model: str) -> None:
    source = _audio(tmp_path / "a.wav")
    (tmp_path / "a.m2l").write_text("precious")
    _refused(tmp_path, "exists already; choose another --output, or overwrite it with --force", "encode", source)
    assert Result("encode", source, "-m", model, "--force").code == 0
    assert Latents.load(tmp_path / "a.m2l").num_samples == 9000
    (tmp_path / "a.reconstructed.png").write_text("precious")
    _refused(tmp_path, "a.reconstructed.png: exists already", "reconstruct", source, "-m", model, "--plot")


def test_two_inputs_with_one_output(tmp_path: Path, model: str) -> None:
    _audio(tmp_path / "a.wav")
    _audio(tmp_path / "a.flac")
    done = Result("encode", tmp_path, "-m", model)
    assert done.code == 1
    assert f"a.wav: its result would replace that of {tmp_path}/a.flac; rename one of them" in done.err
    assert Latents.load(tmp_path / "a.m2l").num_samples == 9000


def test_reconstructions_are_not_inputs(tmp_path: Path, model: str) -> None:
    _audio(tmp_path / "a.wav")
    for _ in range(2):
        assert Result("reconstruct", tmp_path, "-m", model, "--force").code == 0
    assert sorted(os.listdir(tmp_path)) == ["a.reconstructed.wav", "a.wav"]


def test_names_of_any_kind(tmp_path: Path, model: str) -> None:
    for name in ("with space.wav", "音楽 é.WAV", "x" * 240 + ".wav", ".hidden.wav"):
        _audio(tmp_path / name)
    assert Result("encode", tmp_path, "-m", model, "-o", tmp_path / "out").code == 0
    assert sorted(os.listdir(tmp_path / "out")) == ["with space.m2l", "x" * 240 + ".m2l", "音楽 é.m2l"]


def test_full_disk_and_unwritable_folder(tmp_path: Path, model: str) -> None:
    source = _audio(tmp_path / "a.wav")
    _refused(tmp_path, "cannot be written", "encode", source, "-m", model, "-o", source / "a.m2l")
    with disk_with(500):
        _refused(tmp_path, "cannot be written", "encode", source, "-m", model)
        _refused(tmp_path, "cannot be written", "reconstruct", source, "-m", model)


INTERRUPTED = (1, "error: interrupted; nothing half-written was left\n")

DECODE_UNTIL_LINE = """
import os, signal, sys, torch, music2latent.codec
from music2latent.cli import main

lines = int(sys.argv.pop(1))  # of what starting the thread that computes runs

def trace(frame, event, _):
    global lines
    names = []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    if "write_audio" in names and "start" in names:
        lines -= event == "line"
        if not lines:
            sys.settrace(None)
            os.kill(os.getpid(), signal.SIGTERM)
    return trace

sys.settrace(trace)
main()
"""


def _decode(tmp_path: Path, model: str, *command: str) -> subprocess.Popen[str]:
    source = _audio(tmp_path / "a.wav", 1, 44100 * 120)
    assert Result("encode", source, "-m", model).code == 0
    command = (sys.executable, *command, "decode", str(tmp_path / "a.m2l"), "-m", model, "-f", "flac")
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing(tmp_path: Path, model: str, number: signal.Signals) -> None:
    process = _decode(tmp_path, model, "-m", "music2latent")
    while not any(name.endswith(".partial.flac") for name in os.listdir(tmp_path)):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == INTERRUPTED
    assert sorted(os.listdir(tmp_path)) == ["a.m2l", "a.wav"]


@pytest.mark.parametrize("line", [12, 24])
def test_interrupt_while_a_thread_starts(tmp_path: Path, model: str, line: int) -> None:
    # Python's own locks break there, or a thread is left that nobody waits for
    process = _decode(tmp_path, model, "-c", DECODE_UNTIL_LINE, str(line))
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == INTERRUPTED
    assert sorted(os.listdir(tmp_path)) == ["a.m2l", "a.wav"]


# --------------------------------------------------------------------------- start-up


def test_help_and_version_import_no_torch() -> None:
    code = "import sys; from music2latent.cli import main; sys.argv[1:] = [{!r}]\ntry: main()\n"
    code += "finally: print('torch' in sys.modules)"
    for option, expected in (("--help", "reconstruct"), ("--version", __version__)):
        done = subprocess.run([sys.executable, "-c", code.format(option)], capture_output=True, text=True)
        assert expected in done.stdout
        assert done.stdout.endswith("False\n"), done.stderr


def test_several_files_at_a_time(tmp_path: Path, model: str) -> None:
    for number in range(3):
        _audio(tmp_path / "in" / f"{number}.wav", samples=9000 + number)
    (tmp_path / "in" / "bad.wav").write_text("not audio")
    options = ("-m", model, "--dtype", "float32")  # 16 bits move random weights, and depend on the batch
    done = Result("encode", tmp_path / "in", "-o", tmp_path / "out", *options, "--batch-size", 2)
    assert done.code == 1
    assert done.err.count("error:") == 1
    assert "bad.wav" in done.err
    assert Result("encode", tmp_path / "in", "-o", tmp_path / "one", *options).code == 1
    for number in range(3):
        together, alone = (Latents.load(tmp_path / folder / f"{number}.m2l") for folder in ("out", "one"))
        assert together.num_samples == 9000 + number
        assert torch.allclose(together.values, alone.values, atol=2e-3)  # stored in float16
