"""Ctrl-C as a way to end."""

from __future__ import annotations

import os
import signal

import pytest

from music2latent.cli.stopping import until_interrupted

from ..helpers import posix


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_sets_the_event_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with until_interrupted() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(5)
    assert signal.getsignal(number) is before
