from __future__ import annotations

import pytest

from music2latent.checkpoint import write_safetensors

from ..helpers import reference_checkpoint


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small model, so that tests are quick."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    write_safetensors(path, reference_checkpoint("tiny"))
    return str(path)
