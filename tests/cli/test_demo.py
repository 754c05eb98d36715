"""demo: the page from the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

import pytest

from ..demo.places import free_port
from ..helpers import Result, posix

pytestmark = pytest.mark.filterwarnings("ignore")  # of Gradio and what it is made of


@posix
def test_it_serves_until_it_is_interrupted(model: str) -> None:
    pytest.importorskip("gradio", reason="the extra demo is not installed")
    port = free_port()
    # A process of its own: its server sets up logging anew, which closes handlers that other tests' libraries left.
    command = [sys.executable, "-m", "music2latent", "demo", "--model", model, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"http://127.0.0.1:{port}/ (Ctrl-C ends it)\n"
            assert urlopen(f"http://127.0.0.1:{port}/").status == 200
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()  # or a failure above would wait for it without end
    assert (process.returncode, out, err) == (0, "", "")


@contextmanager
def _interrupted_at_once(models: dict[str, object], **place: object) -> Iterator[str]:
    os.kill(os.getpid(), signal.SIGINT)
    yield f"{list(models)} {place}"


@posix
def test_a_page_for_everyone_is_warned_of(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("music2latent.demo.server.serving", _interrupted_at_once)
    done = Result("demo", "-m", model, "-m", "mini", "--host", "0.0.0.0", "--port", free_port(), "--max-minutes", 2)
    assert done.code == 0
    assert done.err.startswith("warning: --host 0.0.0.0: whoever reaches this machine can use the page")
    assert f"['{model}', 'mini']" in done.out
    assert "'most_seconds': 120" in done.out


def test_what_cannot_work_is_said_before_a_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("music2latent.pretrained.read_safetensors", lambda path: pytest.fail("a model was loaded"))
    assert "192.0.2.1:7860 cannot be listened at" in Result("demo", "--host", "192.0.2.1").err
    monkeypatch.setitem(sys.modules, "gradio", None)
    done = Result("demo")
    assert (done.code, done.err) == (1, "error: gradio not installed; run: pip install 'music2latent[demo]'\n")
