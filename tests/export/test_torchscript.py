"""TorchScript files: the facts are in them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import torch

from music2latent.export.facts import facts_of
from music2latent.export.model import export_model

from ..helpers import least_checkpoint


def test_facts_are_inside(tmp_path: Path) -> None:
    export_model(least_checkpoint(), "torchscript", tmp_path)
    for name in ("encoder.ts", "decoder.ts"):
        extra = {"facts.json": ""}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.load(str(tmp_path / name), _extra_files=extra)
        assert json.loads(extra["facts.json"]) == facts_of(least_checkpoint(), "float32")
