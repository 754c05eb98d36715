"""Models from and to a hub on loopback."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

import music2latent.hub
from music2latent import InputError, official, pretrained
from music2latent.checkpoint import Checkpoint, write_safetensors
from music2latent.config import PRESETS
from music2latent.pretrained import load_checkpoint

from .helpers import pt_file, reference_checkpoint, tiny_weights
from .hub import closed_port, hub, silent_port


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
    assert "(HF_HUB_OFFLINE is set); without a network these work: mini, or a path to a file" in refused.stderr


@contextmanager
def _silent_name_server() -> Iterator[str]:
    """An address whose name is looked up for ever."""
    ended = threading.Event()

    def look_up(*_: object, **__: object) -> list[object]:
        ended.wait(10)
        raise socket.gaierror("no such name")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        yield "http://hub.invalid"
        ended.set()


@contextmanager
def _broken_hub() -> Iterator[str]:
    with hub() as server:
        server.status = 503
        yield server.url


SILENT: list[tuple[Callable[[], AbstractContextManager[str]], str]] = [
    (closed_port, "no connection to the hub: |no answer"),  # Windows tries again for two seconds
    (silent_port, "no answer from the hub in 0.3 s|no connection to the hub: .*timed out"),
    (_silent_name_server, "no answer from the hub in 0.3 s"),
    (_broken_hub, "the hub answers with error 503"),
]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_ETAG_TIMEOUT", raising=False)
    monkeypatch.setattr(music2latent.hub, "PATIENCE", 0.3)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("place", "reason"), SILENT)
def test_a_silent_hub_is_asked_once(
    tmp_path: Path,
    place: Callable[[], AbstractContextManager[str]],
    reason: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with place() as address:
        began = time.monotonic()
        with pytest.raises(InputError, match=rf"'me/piano' is not in the local cache .* \(({reason}).*\); without a"):
            load_checkpoint("me/piano", endpoint=address, cache_dir=tmp_path)
        assert time.monotonic() - began < 3  # the client's own way takes 48 s
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("place", "reason"), SILENT)
def test_what_is_cached_needs_no_hub(
    tmp_path: Path, place: Callable[[], AbstractContextManager[str]], reason: str
) -> None:
    _cache_model(tmp_path)
    with place() as address:
        read = load_checkpoint("me/piano", endpoint=address, cache_dir=tmp_path)
    assert read.fingerprint() == reference_checkpoint("tiny").fingerprint()


def _cache_model(folder: Path) -> Path:
    """A cache with me/piano in it; returns the repository's folder there."""
    write_safetensors(folder / "model.safetensors", reference_checkpoint("tiny"))
    with hub() as server:
        server.files["me/piano"] = {"model.safetensors": (folder / "model.safetensors").read_bytes()}
        load_checkpoint("me/piano", endpoint=server.url, cache_dir=folder)
    return folder / "models--me--piano"


def _ref_to_nowhere(cached: Path) -> None:
    (cached / "refs" / "main").write_text("2" * 40)


def _ref_of_noise(cached: Path) -> None:
    (cached / "refs" / "main").write_bytes(b"\xff\xfe\n\x1b[2J")


def _ref_a_folder(cached: Path) -> None:
    (cached / "refs" / "main").unlink()
    (cached / "refs" / "main").mkdir()


def _empty_file(cached: Path) -> None:
    next(cached.glob("snapshots/*/*")).resolve().write_bytes(b"")


def _truncated_file(cached: Path) -> None:
    path = next(cached.glob("snapshots/*/*")).resolve()
    path.write_bytes(path.read_bytes()[:5000])


def _folder_for_file(cached: Path) -> None:
    path = next(cached.glob("snapshots/*/*"))
    path.unlink()
    path.mkdir()


def _link_to_nowhere(cached: Path) -> None:
    next(cached.glob("snapshots/*/*")).resolve().unlink()


def _file_for_folder(cached: Path) -> None:
    shutil.rmtree(cached)
    cached.write_bytes(b"")


DAMAGE = [
    *(_ref_to_nowhere, _ref_of_noise, _ref_a_folder, _empty_file, _truncated_file),
    *(_folder_for_file, _link_to_nowhere, _file_for_folder),
]


@pytest.mark.parametrize("online", [True, False])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_one_line(tmp_path: Path, damage: Callable[[Path], None], online: bool) -> None:
    damage(_cache_model(tmp_path))
    with hub() as server:
        server.files["me/piano"] = {"model.safetensors": (tmp_path / "model.safetensors").read_bytes()}

        def load() -> str:
            try:
                found = load_checkpoint(
                    "me/piano", endpoint=server.url, cache_dir=tmp_path, local_files_only=not online
                )
            except InputError as error:
                return str(error)
            return found.fingerprint()

        said = load()
        assert len(said.splitlines()) == 1
        if not online:
            assert said != reference_checkpoint("tiny").fingerprint()
        elif remedy := re.search(r"delete (\S+) to get another", said):
            path = Path(remedy[1])
            (shutil.rmtree if path.is_dir() else os.unlink)(path)
            assert load() == reference_checkpoint("tiny").fingerprint()


@pytest.mark.parametrize("address", ["ftp://hub", "hub.example", "file:///tmp", "http://", "https:///x", "://", " "])
def test_an_endpoint_of_another_scheme_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError, match="endpoint = '.*'; expected an address that starts with http:// or https://"):
        load_checkpoint("me/piano", endpoint=address, cache_dir=tmp_path)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("address", ["http://[::1", "http://hub.invalid:99999", "http://a b", "http://\x1b[2J"])
def test_an_endpoint_that_is_no_address_is_one_line(tmp_path: Path, address: str) -> None:
    with pytest.raises(InputError) as refused:
        load_checkpoint("me/piano", endpoint=address, cache_dir=tmp_path)
    assert len(str(refused.value).splitlines()) == 1


def test_settings_of_the_hub_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "ftp://hub")
    with pytest.raises(InputError, match="environment variable HF_ENDPOINT = 'ftp://hub'; expected an address"):
        load_checkpoint("me/piano")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it stopped over a variable while imported
    with pytest.raises(InputError, match="model 'me/piano' cannot be had from the hub: import of huggingface_hub"):
        load_checkpoint("me/piano")


@pytest.mark.usefixtures("impatient")
def test_upload_to_a_silent_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    with closed_port() as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with pytest.raises(InputError, match="model cannot be uploaded to 'me/piano': no "):
            music2latent.hub.upload("me/piano", reference_checkpoint("tiny"))


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
