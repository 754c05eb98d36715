"""TorchScript files, for libtorch."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch
from torch import Tensor

from .facts import Facts
from .networks import Network
from .parity import Run

FACTS = "facts.json"
"""The extra file inside that holds the facts."""


def write(network: Network, example: tuple[Tensor, ...], path: Path, facts: Facts, opset: int) -> None:
    """One file; `torch.jit.load` with `_extra_files={"facts.json": ""}` reads the facts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that TorchScript is in maintenance, which hosts still load
        traced = torch.jit.trace(network, example, check_trace=False)
    torch.jit.save(traced, str(path), _extra_files={FACTS: json.dumps(facts)})


def load(path: Path) -> Run:
    """The file as a function of arrays."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(str(path))
    return lambda *arrays: loaded(*map(torch.from_numpy, arrays)).numpy()
