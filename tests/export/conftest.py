from __future__ import annotations

from pathlib import Path

import pytest

from music2latent.export.model import export_model
from music2latent.pretrained import load_checkpoint


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model as ONNX files."""
    folder = tmp_path_factory.mktemp("export") / "mini"
    export_model(load_checkpoint("mini"), "onnx", folder)
    return folder
