"""A generator in a process of its own, which may die without taking this one along."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from ..errors import InputError

_IMPORTED = ["music2latent.dataset.shards"]
"""What the process that children are forked from has ready: importing PyTorch takes seconds."""


class Died(Exception):
    """The process ended in the middle of its work; the message says how."""


class Isolated:
    """Calls a generator function in a child process, one call at a time; the process is started when first needed, and
    again after it died.

    Args:
        make: returns the generator function, in the child.
        arguments: of `make`.
        daemon: whether the child ends with this process; such a child has no children.
    """

    def __init__(
        self, make: Callable[..., Callable[..., Iterator[Any]]], *arguments: Any, daemon: bool = False
    ) -> None:
        # Plainly: multiprocessing would hand tensors over as shared memory, a file each.
        self._work, self._daemon = pickle.dumps((make, arguments)), daemon
        self._process: Any = None
        self._pipe: Any = None

    def __call__(self, *arguments: Any) -> Iterator[Any]:
        """What the generator yields. It is not run further ahead than a pipe holds.

        Raises:
            InputError: as the generator raised it.
            Died: the process ended.
        """
        if self._process is None:
            # Not fork: threads of this process may hold locks at that moment.
            context: Any = multiprocessing.get_context("spawn" if sys.platform == "win32" else "forkserver")
            context.set_forkserver_preload(_IMPORTED)
            self._pipe, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._work), daemon=self._daemon)
            process.start()
            self._process = process
            theirs.close()
        finished = False
        try:
            self._pipe.send(arguments)
            while True:
                kind, value = self._pipe.recv()
                if kind == "item":
                    yield value
                    continue
                finished = True
                if kind == "refused":
                    raise InputError(value)
                if kind == "failed":
                    raise RuntimeError(value)
                return
        except (EOFError, OSError) as error:
            raise Died(self._ending()) from error
        finally:
            if not finished:  # given up in the middle, or dead
                self.close()

    def _ending(self) -> str:
        process = self._process
        if process is None:
            return "its process was given up"
        process.join(5)
        code = process.exitcode
        if code is not None and code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with {code}"

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            self._pipe.close()
            process.terminate()
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()


def _serve(pipe: Connection, work: bytes) -> None:
    """The child: until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    make, arguments = pickle.loads(work)
    function = make(*arguments)
    with suppress(EOFError, OSError):
        while True:
            call = pipe.recv()
            try:
                for item in function(*call):
                    pipe.send(("item", item))
                answer = ("end", "")
            except InputError as error:
                answer = ("refused", str(error))
            except (EOFError, BrokenPipeError):
                return
            except Exception as error:
                answer = ("failed", f"{type(error).__name__}: {error}")
            pipe.send(answer)
