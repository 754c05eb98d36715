"""The entry point: interrupts, and what it imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from music2latent import __version__

from ..helpers import INTERRUPTED, SIGNALS, Result, audio_file, posix

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


ENCODE_UNDER_HANGUP = """
import threading
from music2latent.cli import main
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGHUP)).start()
main()
"""


def _decode(tmp_path: Path, model: str, *command: str) -> subprocess.Popen[str]:
    song = audio_file(tmp_path / "a.wav", 1, 44100 * 120)
    assert Result("encode", song, "-m", model).code == 0
    command = (sys.executable, *command, "decode", str(tmp_path / "a.m2l"), "-m", model, "-f", "flac")
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@posix
@pytest.mark.parametrize("number", SIGNALS)
def test_interrupt_leaves_nothing(tmp_path: Path, model: str, number: signal.Signals) -> None:
    process = _decode(tmp_path, model, "-m", "music2latent")
    while not any(name.endswith(".partial.flac") for name in os.listdir(tmp_path)):
        assert process.poll() is None
        time.sleep(0.02)
    for _ in range(3):
        process.send_signal(number)
        time.sleep(0.02)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == INTERRUPTED
    assert sorted(os.listdir(tmp_path)) == ["a.m2l", "a.wav"]


@posix
def test_nohup(tmp_path: Path, model: str) -> None:
    song = audio_file(tmp_path / "a.wav", 1, 44100 * 20)
    code = f"import os, signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n{ENCODE_UNDER_HANGUP}"
    done = subprocess.run(
        [sys.executable, "-c", code, "encode", str(song), "-m", model], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.m2l").exists()


@posix
@pytest.mark.parametrize("line", [12, 24])
def test_interrupt_while_a_thread_starts(tmp_path: Path, model: str, line: int) -> None:
    # Python's own locks break there, or a thread is left that nobody waits for
    process = _decode(tmp_path, model, "-c", DECODE_UNTIL_LINE, str(line))
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == INTERRUPTED
    assert sorted(os.listdir(tmp_path)) == ["a.m2l", "a.wav"]


def test_help_and_version_import_no_torch() -> None:
    code = "import sys; from music2latent.cli import main; sys.argv[1:] = [{!r}]\ntry: main()\n"
    code += "finally: print('torch' in sys.modules)"
    for option, expected in (("--help", "reconstruct"), ("--version", __version__)):
        done = subprocess.run([sys.executable, "-c", code.format(option)], capture_output=True, text=True)
        assert expected in done.stdout
        assert done.stdout.endswith("False\n"), done.stderr
