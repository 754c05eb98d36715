"""What this installation has and what it lacks: the report that `music2latent doctor` prints.

Everything is imported inside functions, so that a package that does not work is a line of the report.
"""

from __future__ import annotations

import getpass
import os
import platform
import re
import shutil
import subprocess
import urllib.request
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import extras, settings
from .errors import InputError

Facts = dict[str, Any]

NEEDED = (
    "music2latent",
    "torch",
    "numpy",
    "soundfile",
    "soxr",
    "safetensors",
    "huggingface_hub",
    "platformdirs",
    "rich",
)
"""Import names of what everything needs."""


def report() -> Facts:
    """Facts by section, in plain JSON types. `problems`, the first, lists what has to be mended, and how; it is empty
    where all is well. A section that cannot be had says why under `error`.

    Asks the hub whether it is there, for `hub.PATIENCE` seconds at most, and downloads nothing. Compiles the fused
    normalisation if that was not done before. Neither tokens nor the user's name are in it.
    """
    sections: dict[str, Callable[[Facts], Facts]] = {
        "versions": _versions,
        "extras": _extras,
        "platform": _platform,
        "devices": _devices,
        "compiled_kernels": _compiled_kernels,
        "formats": _formats,
        "programs": _programs,
        "folders": _folders,
        "hub": _hub,
        "default_model": _default_model,
    }
    found: Facts = {"problems": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the same things that the report is about
        for name, section in sections.items():
            try:
                found[name] = section(found)
            except Exception as error:  # whatever a broken package raises
                found[name] = {"error": _one_line(error)}
    masked: Facts = _without_names(found)
    return masked


def _versions(found: Facts) -> Facts:
    versions: Facts = {"Python": platform.python_version()}
    for name in NEEDED:
        try:
            module = import_module(name)
            versions[name] = getattr(module, "__version__", None) or version(name)
        except Exception as error:  # not there, or for another Python, processor or system
            versions[name] = f"broken: {_one_line(error)}"
            found["problems"].append(
                f"{name} cannot be imported ({_one_line(error)}); run: pip install --force-reinstall {name}"
            )
    with suppress(Exception):
        versions["libsndfile"] = import_module("soundfile").__libsndfile_version__
    return versions


def _extras(_: Facts) -> Facts:
    return {
        name: f"lacks {', '.join(lacking)}; {extras.pip_line(name)}"
        if (lacking := extras.missing(name))
        else "installed"
        for name in extras.EXTRAS
    }


def _platform(_: Facts) -> Facts:
    return {"system": platform.platform(), "machine": platform.machine(), "processors": os.cpu_count()}


def _devices(_: Facts) -> Facts:
    import torch

    from .devices import available, multiplies_bfloat16, resolve_device, resolve_dtype

    facts: Facts = {"default": str(resolve_device(None))}
    for name in available():
        device = torch.device(name)
        if device.type == "cuda":
            properties = torch.cuda.get_device_properties(device)
            about = {"name": properties.name, "memory_gb": round(properties.total_memory / 1e9, 1)}
        else:
            about = {"instructions": torch.backends.cpu.get_cpu_capability()} if name == "cpu" else {}
        auto = str(resolve_dtype("auto", device)).removeprefix("torch.")
        facts[name] = about | {"native_bfloat16": multiplies_bfloat16(device), "dtype_auto": auto}
    return facts | {"cuda": torch.version.cuda or "not in this PyTorch", "threads": torch.get_num_threads()}


def _compiled_kernels(_: Facts) -> Facts:
    from .nn import fused

    library, where = fused.load()
    return {"loaded": library is not None, "file" if library else "why": where}


def _formats(found: Facts) -> Facts:
    import soundfile

    from .audio import WRITTEN

    able = {suffix: soundfile.check_format(*kind) for suffix, kind in WRITTEN.items()}
    if not able[".wav"]:
        found["problems"].append("libsndfile cannot read WAV files; run: pip install --force-reinstall soundfile")
    return {
        "read_and_written": [suffix for suffix, can in able.items() if can],
        "not": [suffix for suffix, can in able.items() if not can],
    }


def _programs(_: Facts) -> Facts:
    facts: Facts = {"ffmpeg": None, "PyAV": None}
    if path := shutil.which("ffmpeg"):
        done = subprocess.run([path, "-version"], capture_output=True, text=True, errors="replace", timeout=2)
        facts["ffmpeg"] = " ".join(done.stdout.split()[:3])
    with suppress(ImportError):
        facts["PyAV"] = import_module("av").__version__
    return facts


def _folders(_: Facts) -> Facts:
    from huggingface_hub import constants

    return {
        "hub_cache": _folder(Path(constants.HF_HUB_CACHE)),
        "cache": _folder(settings.cache_folder()),
        "configuration": {"path": str(path := settings.config_path()), "exists": bool(path and os.path.exists(path))},
    }


def _folder(path: Path | None) -> Facts | None:
    if path is None:
        return None
    there = next(parent for parent in (path, *path.absolute().parents) if os.path.exists(parent))
    writable = os.path.isdir(there) and os.access(there, os.W_OK)
    return {"path": str(path), "exists": os.path.exists(path), "writable": writable}


def _hub(_: Facts) -> Facts:
    from huggingface_hub import constants, get_token

    from .hub import PATIENCE, endpoint, why_silent

    silence = why_silent(address := endpoint(), PATIENCE)
    return {
        "endpoint": address,
        "offline": constants.HF_HUB_OFFLINE,
        "reachable": silence is None,
        **({"why": silence} if silence else {}),
        "token": "set" if get_token() else None,
        "proxies": sorted(urllib.request.getproxies()),
    }


def _default_model(found: Facts) -> Facts:
    from .hub import Unreachable
    from .pretrained import load_checkpoint

    try:
        default = settings.default_model()
    except InputError as error:
        found["problems"].append(f"default model: {error}")
        raise
    facts: Facts = {"name": default.name, "named_by": default.origin or "built in"}
    try:
        checkpoint = load_checkpoint(default.name, local_files_only=True)
        return facts | {"loads": True, "model_id": checkpoint.model_id, "fingerprint": checkpoint.fingerprint()}
    except Unreachable:
        if found["hub"].get("reachable"):
            return facts | {"loads": None, "why": "not downloaded yet; that happens when it is first used"}
        why = f"not in the local cache, and the hub is silent ({found['hub'].get('why') or found['hub'].get('error')})"
    except Exception as error:  # PyTorch may be what is broken
        why = _one_line(error)
    found["problems"].append(
        f"default model {default} does not load: {why}; mend that, or name another in {settings.MODEL_VARIABLE}"
    )
    return facts | {"loads": False, "why": why}


def _one_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _without_names(value: Any) -> Any:
    """The same without credentials in addresses, the user's home and the user's name in paths."""
    if isinstance(value, dict):
        return {key: _without_names(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_without_names(inner) for inner in value]
    if not isinstance(value, str):
        return value
    value = re.sub(r"://[^/\s]*@", "://", value)
    with suppress(RuntimeError):  # no home
        home = Path.home()
        if len(home.parts) > 1:
            value = re.sub(re.escape(str(home)) + r"(?![\w.-])", "~", value)
    with suppress(Exception):  # no name: what is raised then depends on the version of Python
        value = re.sub(rf"(?<=[/\\]){re.escape(getpass.getuser())}(?=[/\\])", "USER", value)
    return value
