"""Models from and to a hub on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from music2latent import InputError, official, pretrained
from music2latent.checkpoint import Checkpoint
from music2latent.config import PRESETS
from music2latent.pretrained import load_checkpoint

from .helpers import pt_file, reference_checkpoint, tiny_weights
from .hub import hub


def _python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter: the hub's settings are read when its client is imported."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("HF_")} | environment
    root = Path(__file__).parent.parent
    return subprocess.run([sys.executable, "-c", code], cwd=root, env=variables, capture_output=True, text=True)


def test_hub_upload_download_cache_and_offline(tmp_path: Path) -> None:
    code = """
from tests.helpers import reference_codec
from music2latent import EncoderDecoder
codec = reference_codec("tiny")
print(codec.push_to_hub("me/piano", token="hf_x", private=True))
for revision in (None, "v1"):
    assert EncoderDecoder.from_pretrained("me/piano", revision=revision).fingerprint == codec.fingerprint
assert EncoderDecoder(model="me/official", dtype="float32").fingerprint == codec.fingerprint
"""
    again = "from music2latent import load_model; load_model('me/piano')"
    with hub() as server:
        settings = {"HF_ENDPOINT": server.url, "HF_HOME": str(tmp_path / "home")}
        # any repository may hold the official layout; with the file's own configuration it is the same model
        pt_file(tmp_path / "p.pt", config=PRESETS["tiny"].to_dict())
        server.files["me/official"] = {"music2latent.pt": (tmp_path / "p.pt").read_bytes()}
        done = _python(code, **settings)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{server.url}/me/piano/commit/{'1' * 40}\n"
        assert sorted(server.files["me/piano"]) == ["README.md", "config.json", "model.safetensors"]
        downloads = [request for request in server.requests if request.startswith("GET /me/piano")]
        assert len(downloads) == 1  # the second revision is the same commit
    assert (tmp_path / "home" / "hub" / "models--me--piano").is_dir()
    unreachable = settings | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    done = _python(again, **unreachable)
    assert done.returncode == 0, done.stderr
    refused = _python(again.replace("me/piano", "SonyCSLParis/music2latent"), **unreachable, HF_HUB_OFFLINE="1")
    assert "without a network these work: mini, or a path to a file" in refused.stderr


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("me/nothing", None, "the hub has no repository 'me/nothing', or it is private"),
        ("me/empty", "v9", "repository 'me/empty' has no revision 'v9'"),
        ("me/empty", None, r"holds neither model\.safetensors nor music2latent\.pt"),
    ],
)
def test_hub_refusals(tmp_path: Path, name: str, revision: str | None, message: str) -> None:
    with hub() as server, pytest.raises(InputError, match=message):
        server.files["me/empty"] = {}
        load_checkpoint(name, revision=revision, endpoint=server.url, cache_dir=tmp_path)


def test_official_repository(tmp_path: Path) -> None:
    """The official repository's own name, from a hub that holds a file of the official layout and shape."""
    pretrained._warn_of_license.cache_clear()
    torch.save({"gen_state_dict": tiny_weights("official")}, tmp_path / "p.pt")
    with hub() as server, pytest.warns(UserWarning, match="SonyCSLParis/music2latent are licensed CC BY-NC 4.0"):
        server.files[official.REPO] = {"music2latent.pt": (tmp_path / "p.pt").read_bytes()}
        read = load_checkpoint(official.REPO, endpoint=server.url, cache_dir=tmp_path)
    assert read.fingerprint() == reference_checkpoint("official").fingerprint()
    assert isinstance(read, Checkpoint)
