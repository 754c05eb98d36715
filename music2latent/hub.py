"""The Hugging Face hub: one file of a repository downloaded, a model's folder uploaded."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict, Unpack

from .checkpoint import Checkpoint, write_safetensors
from .errors import InputError
from .files import replacing
from .model_card import model_card

MODEL_FILE = "model.safetensors"
LIBRARY = "music2latent"


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
    """The first of these files that a repository holds, from the local cache where it is there.

    Raises:
        Unreachable: not cached, and no connection.
        InputError: no such repository or revision, no such file in it, or any other answer of the hub.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    names = list(filenames)
    offline = None
    for filename in names:
        try:
            return Path(hf_hub_download(repo_id, filename, library_name=LIBRARY, **options))
        except LocalEntryNotFoundError as error:  # no connection, and not in the cache under this file name
            offline = error
        except EntryNotFoundError:  # the repository has no such file
            continue
        except RevisionNotFoundError as error:
            revision = options.get("revision")
            raise InputError(
                f"repository {repo_id!r} has no revision {revision!r}; name a branch, tag or commit"
            ) from error
        except RepositoryNotFoundError as error:
            raise InputError(
                f"the hub has no repository {repo_id!r}, or it is private: check the name, or log in with hf auth login"
            ) from error
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"model {repo_id!r} cannot be had from the hub: {reason}") from error
    if offline is not None:
        raise Unreachable(f"repository {repo_id!r}: not in the local cache, and no connection") from offline
    raise InputError(f"repository {repo_id!r} holds neither {' nor '.join(names)}")


def write_folder(folder: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a folder as the hub lays models out: weights, configuration to look at, model card."""
    folder = Path(folder)
    write_safetensors(folder / MODEL_FILE, checkpoint)
    with replacing(folder / "config.json") as partial:
        partial.write_text(json.dumps(checkpoint.config.to_dict(), indent=2) + "\n")
    with replacing(folder / "README.md") as partial:
        partial.write_text(model_card(checkpoint))


def upload(
    repo_id: str,
    checkpoint: Checkpoint,
    *,
    private: bool = False,
    token: str | None = None,
    revision: str | None = None,
    commit_message: str = "Upload with music2latent",
) -> str:
    """Create the repository if need be and upload `write_folder`'s files; returns the commit's address."""
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name=LIBRARY)
    with tempfile.TemporaryDirectory() as folder:
        write_folder(folder, checkpoint)
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo_id, folder_path=folder, revision=revision, commit_message=commit_message
        )
    return str(commit.commit_url)
