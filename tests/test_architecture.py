"""The package keeps to docs/architecture.md: who imports whom, what exists, and what happens on import."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import music2latent

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "music2latent"
PAGE = (ROOT / "docs" / "architecture.md").read_text()

# Modules of the core in dependency order: each imports from lower lines alone.
CORE = [
    "live duplex inference doctor",
    "transcoding streaming info",
    "codec",
    "codec_module batch_coding",
    "pretrained",
    "hub",
    "official model_card",
    "checkpoint chunk_coding",
    "autoencoder",
    "consistency nn.encoder nn.upsampler nn.denoiser",
    "nn.tones",
    "nn.layers latents",
    "nn.fused noise chunks spectrogram stft covariance display m2l audio wave_stream",
    "media",
    "truncation",
    "settings hparams",
    "arrays resampling opening files extras devices threads progress config unpickling",
    "errors",
]
LINE = {module: number for number, modules in enumerate(CORE) for module in modules.split()}
WITHOUT_CODEC = set(LINE) - {"codec", "transcoding", "streaming", "live", "duplex"}

# What each subpackage may import beside itself; never a sibling, but for what is named here.
SUBPACKAGES = {
    "training": WITHOUT_CODEC,
    "export": WITHOUT_CODEC,
    "evaluation": set(LINE),
    "dataset": set(LINE),
    "integrations": set(LINE),
    "demo": set(LINE) | {"evaluation.plot"},
}
LIGHT = {"", "errors", "config", "files", "opening", "progress"}
"""What the command line may import before it knows the verb."""

UNTESTED = {"progress": "two type aliases"}
"""Modules without tests of their own, and why."""


def _modules() -> dict[str, ast.Module]:
    """Every module by its dotted name; a package's own file has the package's name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text())
    return found


MODULES = _modules()
PACKAGES = {
    ".".join(path.parent.relative_to(PACKAGE).parts) for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE
} | {""}


def _imports(name: str, tree: ast.AST) -> set[str]:
    """Modules of ours that the statements below this node import; `""` is the package itself."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            parts = name.split(".") if name else []
            base = parts[: len(parts) - node.level + (name in PACKAGES)]
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}".strip(".")
                found.add(inner if inner in MODULES else module)
    return found


def _allowed(name: str) -> set[str]:
    top = name.partition(".")[0]
    if name in LINE:
        return {module for module, line in LINE.items() if line > LINE[name]}
    if top in SUBPACKAGES:
        return SUBPACKAGES[top] | {"", "nn"} | {module for module in MODULES if module.partition(".")[0] == top}
    return set(MODULES)  # the command line, the package's own file and __main__


def test_every_module_has_its_place() -> None:
    known = set(LINE) | {"", "__main__", "nn", "cli"}
    assert {name for name in MODULES if name.partition(".")[0] not in {*SUBPACKAGES, "cli"}} <= known
    assert set(LINE) <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_imports_follow_the_table(name: str) -> None:
    assert _imports(name, MODULES[name]) <= _allowed(name)


def test_no_cycles() -> None:
    waiting = {name: _imports(name, tree) - {name, ""} for name, tree in MODULES.items() if name}
    while ready := [name for name, needs in waiting.items() if not needs & set(waiting)]:
        for name in ready:
            del waiting[name]
    assert not waiting


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("cli")])
def test_the_command_line_imports_what_is_slow_inside_functions(name: str) -> None:
    for node in MODULES[name].body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.If)):
            own = {module for module in _imports(name, node) if not module.startswith("cli")}
            assert own <= LIGHT, f"{name}: {ast.unparse(node)}"


@pytest.mark.parametrize("name", [name for name in MODULES if name != "__main__"])
def test_nothing_happens_on_import(name: str) -> None:
    """At the top of a file: imports, definitions, constants, and calls only where they give a constant its value.
    An integration also asks for the framework whose classes it extends, and registers its own there."""
    for node in MODULES[name].body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If)
        asks = name.startswith("integrations.") and re.match(r"require|Auto\w+\.register\(", ast.unparse(node))
        assert isinstance(node, kinds) or asks, f"{name}: {ast.unparse(node)}"
        assert not isinstance(node, ast.If) or ast.unparse(node.test) == "TYPE_CHECKING"
        assert not isinstance(node, ast.ImportFrom) or node.names[0].name != "*"


@pytest.mark.parametrize("name", MODULES)
def test_long_records_are_built_by_keyword(name: str) -> None:
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.ClassDef) and any("dataclass" in ast.unparse(one) for one in node.decorator_list):
            fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
            assert len(fields) <= 3 or "kw_only=True" in ast.unparse(node.decorator_list[0]), f"{name}.{node.name}"


def test_public_names() -> None:
    assert music2latent.__all__ == [
        "EncoderDecoder",
        "InputError",
        "Latents",
        "ModelConfig",
        "__version__",
        "load_model",
    ]
    for name in music2latent.__all__:
        assert getattr(music2latent, name)
    with pytest.raises(AttributeError, match="no attribute 'EncoderDecode'"):
        music2latent.EncoderDecode  # noqa: B018


def test_import_is_light() -> None:
    code = "import sys, music2latent; print(sorted({'torch', 'numpy', 'soundfile'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_changelog_has_the_version() -> None:
    assert re.search(rf"^## {re.escape(music2latent.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)


# ------------------------------------------------------------------------------------------------ docs/architecture.md


def _tree() -> list[Path]:
    """Paths of the picture at the top of the page: the first words of its lines, below the folders above them."""
    found, folders = [], {-1: ROOT}
    for line in PAGE.split("```")[1].strip().splitlines():
        depth = len(line) - len(line.lstrip())
        names = re.match(r"\s*((?:[\w.-]+/?(?:, | |$)(?! ))*[\w.-]+/?)?", line)
        for name in (names[1] or "").replace(",", "").split() if names else []:
            path = folders[max(key for key in folders if key < depth)] / name
            found.append(path)
            if name.endswith("/"):
                folders = {key: value for key, value in folders.items() if key < depth} | {depth: path}
    return found


def test_the_picture_shows_what_is_there() -> None:
    shown = _tree()
    assert len(shown) > 60
    missing = [str(path) for path in shown if not path.exists()]
    assert not missing
    unshown = {path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"} - set(shown)
    assert not unshown


def _code() -> list[str]:
    """What the page sets in backticks after the picture."""
    return re.findall(r"`([^`\n]+)`", PAGE.split("```")[2])


@pytest.mark.parametrize("text", sorted({text for text in _code() if re.fullmatch(r"[\w./-]+(\.\w+|/)", text)}))
def test_paths_and_names_of_the_page_exist(text: str) -> None:
    if "/" in text or re.search(r"\.(py|md|toml|cpp|html|txt)$", text):
        assert any((folder / text).exists() for folder in (ROOT, PACKAGE, ROOT / "docs")), text
        return
    first, *rest = text.split(".")
    homes: list[Any] = [import_module(f"music2latent.{name}") for name in MODULES if name.split(".")[-1] == first]
    for name in MODULES:  # or a class' attribute
        if re.search(rf"^class {first}\b", _source(name), re.M):
            homes.append(getattr(import_module(f"music2latent.{name}"), first))
    for part in rest:
        homes = [home for home in homes if hasattr(home, part) or part in getattr(home, "__annotations__", {})]
        assert homes, text
        homes = [getattr(home, part, None) for home in homes]


def _source(name: str) -> str:
    path = PACKAGE.joinpath(*name.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


# ------------------------------------------------------------------------------------------------ tests


@pytest.mark.parametrize("name", [name for name in MODULES if name not in PACKAGES | set(UNTESTED) | {"__main__"}])
def test_every_module_has_its_tests(name: str) -> None:
    *folders, last = name.split(".")
    assert (ROOT / "tests").joinpath(*folders, f"test_{last}.py").exists()
