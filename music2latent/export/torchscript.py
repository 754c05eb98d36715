"""TorchScript files, for libtorch."""

from __future__ import annotations

import io
import json
from pathlib import Path

import torch
from torch import Tensor

from .facts import Facts
from .networks import Network
from .parity import Run

FACTS = "facts.json"
"""The extra file inside that holds the facts."""


def write(network: Network, example: tuple[Tensor, ...], path: Path, facts: Facts, opset: int) -> None:
    """One file with the facts inside, see `save`."""
    save(torch.jit.trace(network, example, check_trace=False), path, facts)


def load(path: Path) -> Run:
    """The file as a function of arrays."""
    return running(torch.jit.load(str(path)))


def save(module: torch.jit.ScriptModule, path: Path, facts: Facts) -> None:
    """Write a file; `torch.jit.load` with `_extra_files={"facts.json": ""}` reads the facts."""
    content = io.BytesIO()  # writing to a full disk by itself, it would end the process
    torch.jit.save(module, content, _extra_files={FACTS: json.dumps(facts)})
    path.write_bytes(content.getbuffer())


def running(module: torch.nn.Module) -> Run:
    """A module as a function of arrays."""
    return lambda *arrays: module(*map(torch.from_numpy, arrays)).numpy()
