"""Where the page is served from: this machine alone, unless told otherwise, and nothing of it from elsewhere."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..codec import EncoderDecoder
from ..errors import InputError

FONTS = ("system-ui", "sans-serif"), ("ui-monospace", "monospace")


@contextmanager
def serving(
    models: Mapping[str, EncoderDecoder], *, host: str, port: int, most_seconds: float, most_megabytes: int
) -> Iterator[str]:
    """Serve the page, at the URL that this gives, until the context ends; then all files of visitors are deleted.

    Args:
        models: the codecs on offer, by name.
        host, port: where to listen, see `check_place`.
        most_seconds: of stereo that are accepted at a time.
        most_megabytes: of an uploaded file.

    Raises:
        InputError: a place that cannot be listened at.
    """
    check_place(host, port)
    with TemporaryDirectory(prefix="music2latent-demo-") as folder, _environment("GRADIO_TEMP_DIR", folder):
        import gradio as gr

        from .page import STYLE, Page

        page = Page(models, Path(folder), most_seconds).blocks
        font, mono = FONTS
        page.launch(
            server_name=host,
            server_port=port,
            max_file_size=f"{most_megabytes}mb",
            theme=gr.themes.Base(font=font, font_mono=mono),
            css=STYLE,
            footer_links=[],
            # Each of these would send something to elsewhere, or keep what visitors did.
            share=False,
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            pwa=False,
            prevent_thread_lock=True,
            quiet=True,
        )
        try:
            yield page.local_url
        finally:
            page.close(verbose=False)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def is_local(host: str) -> bool:
    """Whether this address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_place(host: str, port: int) -> None:
    """Refuse an address that is not this machine's, or a port that is taken.

    Raises:
        InputError: it cannot be listened at.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{host}:{port} cannot be listened at ({reason}); choose others by --host and --port"
        ) from error
