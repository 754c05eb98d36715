"""What the command line says: results on standard output, all else on standard error, one harmless line each."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Any, TextIO

from ..errors import printable

_LEVELS = {"quiet": logging.ERROR, "": logging.WARNING, "verbose": logging.DEBUG}


def configure(*, verbose: bool, quiet: bool) -> None:
    """Say more, or less: the level of the package's loggers, which write to standard error; warnings among them."""
    logger = logging.getLogger("music2latent")
    logger.setLevel(_LEVELS["verbose" if verbose else "quiet" if quiet else ""])
    logger.handlers = [_Handler()]
    logger.propagate = False
    warnings.showwarning = _log_warning


def _log_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    logging.getLogger("music2latent").warning("%s", message)


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{record.levelname.lower()}: {record.getMessage()}")


def is_quiet() -> bool:
    """Whether only errors are said."""
    return logging.getLogger("music2latent").level == logging.ERROR


def say(text: str) -> None:
    """A result, line by line; nothing under --quiet."""
    if not is_quiet():
        show(text)


def show(text: str) -> None:
    """What was asked for, line by line, under --quiet too."""
    _write(sys.stdout, "\n".join(printable(line, 100_000) for line in text.split("\n")))


def tell(text: str) -> None:
    """A line on what is going on; nothing under --quiet."""
    if not is_quiet():
        complain(text)


def complain(text: str) -> None:
    """A line that is said in any case, on standard error."""
    _write(sys.stderr, printable(text))


def _write(stream: TextIO, text: str) -> None:
    """What the stream's encoding has no words for is escaped. A reader that has seen enough (`| head -1`) ends what is
    said, not the work."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
