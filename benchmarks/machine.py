"""What the figures were measured on."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import torch


def processor() -> str:
    """Name and count of the cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    return f"{torch.get_num_threads()} cores of {name}"
