"""The Hugging Face hub: one file of a repository downloaded, a model's folder uploaded."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import TypedDict, Unpack

from .checkpoint import Checkpoint, write_safetensors
from .errors import InputError
from .files import replacing
from .model_card import model_card

MODEL_FILE = "model.safetensors"
LIBRARY = "music2latent"
PATIENCE = 4
"""Seconds in which a hub has to answer; `HF_HUB_ETAG_TIMEOUT` in the environment sets another time."""


class DownloadOptions(TypedDict, total=False):
    """Arguments of `huggingface_hub.hf_hub_download` that are passed on."""

    revision: str | None
    """Branch, tag or commit."""
    token: str | bool | None
    """Access token; by default the one that `hf auth login` stored."""
    cache_dir: str | Path | None
    local_files_only: bool
    endpoint: str | None
    """Address of another hub."""


class Unreachable(InputError):
    """A file that is not in the local cache, and no connection to the hub."""


def download(repo_id: str, filenames: Iterable[str], **options: Unpack[DownloadOptions]) -> Path:
    """The first of these files that a repository holds, from the local cache where it is there and up to date, or where
    the hub cannot be reached.

    Raises:
        Unreachable: not cached, and no connection.
        InputError: no such repository or revision, no such file in it, a damaged cache, or any other answer of the hub.
    """
    with _one_line_errors(f"model {repo_id!r} cannot be had from the hub"):
        from huggingface_hub import hf_hub_download, hf_hub_url
        from huggingface_hub.errors import (
            EntryNotFoundError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )

        names = list(filenames)
        revision = options.get("revision")
        address = endpoint(options.get("endpoint"))
        if options.get("local_files_only"):
            silence: str | None = "local_files_only is set"
        else:
            silence = why_silent(hf_hub_url(repo_id, names[0], revision=revision, endpoint=address))
        offline = None
        for filename in names:
            try:
                # Left to itself, the client repeats a request to a silent hub for most of a minute, in as many lines.
                wanted = options | DownloadOptions(local_files_only=silence is not None)
                return Path(hf_hub_download(repo_id, filename, library_name=LIBRARY, **wanted))
            except LocalEntryNotFoundError as error:  # no connection, and not in the cache under this file name
                offline = error
            except EntryNotFoundError:  # the repository has no such file
                continue
            except RevisionNotFoundError as error:
                raise InputError(
                    f"repository {repo_id!r} has no revision {revision!r}; name a branch, tag or commit"
                ) from error
            except RepositoryNotFoundError as error:
                raise InputError(
                    f"the hub has no repository {repo_id!r}, or it is private: check the name, or log in with "
                    "hf auth login"
                ) from error
        if offline is not None:
            raise Unreachable(silence or "the connection to the hub was lost") from offline
        raise InputError(f"repository {repo_id!r} holds neither {' nor '.join(names)}")


def endpoint(named: str | None = None) -> str:
    """The address of the hub: the one named, else that of `HF_ENDPOINT`, else Hugging Face's.

    Raises:
        InputError: not an address of the web.
    """
    from huggingface_hub import constants

    address = named or constants.ENDPOINT
    if not re.match(r"https?://[^/\s]", address):
        where = "endpoint" if named else "environment variable HF_ENDPOINT"
        raise InputError(f"{where} = {address!r}; expected an address that starts with http:// or https://")
    return address.rstrip("/")


def why_silent(url: str, patience: float | None = None) -> str | None:
    """Why there is no hub behind an address; None if it answers. One request, of so many seconds at most: `PATIENCE` by
    default, or what `HF_HUB_ETAG_TIMEOUT` says."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # at the top only of newer releases

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    if patience is None:
        patience = constants.HF_HUB_ETAG_TIMEOUT if "HF_HUB_ETAG_TIMEOUT" in os.environ else PATIENCE
    outcome: list[str | None] = []

    def ask() -> None:
        try:
            status = get_session().head(url, timeout=patience).status_code
            outcome.append(f"the hub answers with error {status}" if status >= 500 else None)
        except Exception as error:  # of one of three HTTP libraries, by the client's version
            outcome.append(f"no connection to the hub: {first_line(error)}")

    # A thread that is left behind, because nothing ends a name server's silence.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    return outcome[0] if outcome else f"no answer from the hub in {patience} s"


@contextmanager
def _one_line_errors(what: str) -> Iterator[None]:
    """Turn whatever the hub's client raises into an InputError of one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of one of three HTTP libraries, of the cache's files, of the client's settings
        raise InputError(f"{what}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def write_folder(folder: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a folder as the hub lays models out: weights, configuration to look at, model card."""
    folder = Path(folder)
    write_safetensors(folder / MODEL_FILE, checkpoint)
    with replacing(folder / "config.json") as partial:
        partial.write_text(json.dumps(checkpoint.config.to_dict(), indent=2) + "\n", encoding="utf-8")
    with replacing(folder / "README.md") as partial:
        partial.write_text(model_card(checkpoint), encoding="utf-8")


def upload(
    repo_id: str,
    checkpoint: Checkpoint,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload with music2latent",
) -> str:
    """Create the repository if need be and upload `write_folder`'s files; returns the commit's address.

    Raises:
        InputError: no connection, no right to write there, or any other answer of the hub.
    """
    with _one_line_errors(f"model cannot be uploaded to {repo_id!r}"), tempfile.TemporaryDirectory() as folder:
        from huggingface_hub import HfApi

        if silence := why_silent(endpoint()):
            raise InputError(f"model cannot be uploaded to {repo_id!r}: {silence}")
        api = HfApi(token=token, library_name=LIBRARY)
        write_folder(folder, checkpoint)
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, revision=revision, commit_message=commit_message
        )
    return str(commit.commit_url)
