"""OpenVINO files: names of inputs, and the facts."""

from __future__ import annotations

from pathlib import Path

import openvino

from music2latent.export.facts import facts_of
from music2latent.export.model import export_model

from ..helpers import least_checkpoint


def test_names_and_facts(tmp_path: Path) -> None:
    export_model(least_checkpoint(), "openvino", tmp_path)
    model = openvino.Core().read_model(tmp_path / "decoder.xml")
    assert [one.any_name for one in model.inputs] == ["latents", "noise", "weights"]
    assert model.output().any_name == "audio"
    facts = facts_of(least_checkpoint(), "float32")
    assert {key: model.get_rt_info(["music2latent", key]).value for key in facts} == facts
