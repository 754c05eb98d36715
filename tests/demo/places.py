"""What tests of servers share."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from contextlib import contextmanager


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def tidied() -> Iterator[None]:
    """Gradio leaves event loops open: they go here, where their warnings are ignored, not in whatever test is next."""
    try:
        yield
    finally:
        gc.collect()
