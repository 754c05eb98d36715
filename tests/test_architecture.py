"""The house keeps its plan: imports point down, nothing happens on import, and the public names are these."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import music2latent

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "music2latent"

# Every room may import from the rooms in the lines below its own, and from those named beside it in its own line.
FLOORS = [
    "cli __main__",
    "report live",
    "evaluate",
    "codecs frechet info plot probe streaming",
    "codec training.export",
    "training.loop",
    "training.report training.summary",
    "training.validation",
    "windowed training.loss training.data training.folder",
    "training.config",
    "checkpoint published",
    "autoencoder",
    "consistency nn.encoder nn.upsampler nn.denoiser",
    "nn.layers",
    "nn.fused noise windows spectrogram latents audio jobs",
    "config files devices metrics threads",
    "errors",
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms.split()}


def _rooms() -> dict[str, ast.Module]:
    paths = [path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"]
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): ast.parse(path.read_text()) for path in paths}


def _imports(room: str, tree: ast.Module) -> set[str]:
    """Rooms that a room imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = room.split(".")[: -node.level]
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            found |= {module} if module in FLOOR else {f"{module}.{a.name}".strip(".") for a in node.names}
    return found & set(FLOOR)


def test_every_room_has_a_floor() -> None:
    assert set(_rooms()) == set(FLOOR)


@pytest.mark.parametrize("room", FLOOR)
def test_imports_point_down(room: str) -> None:
    for other in _imports(room, _rooms()[room]):
        assert FLOOR[other] >= FLOOR[room], f"{room} imports {other} from a floor above"


def test_training_never_imports_the_codec() -> None:
    for room, tree in _rooms().items():
        assert not room.startswith("training.") or "codec" not in _imports(room, tree)


def test_no_cycles() -> None:
    waiting = {room: _imports(room, tree) - {room} for room, tree in _rooms().items()}
    while ready := [room for room, needs in waiting.items() if not needs & set(waiting)]:
        for room in ready:
            del waiting[room]
    assert not waiting


@pytest.mark.parametrize("room", FLOOR)
def test_nothing_happens_on_import(room: str) -> None:
    """At the top of a file: imports, definitions, constants, and calls only where they give a constant its value."""
    for node in _rooms()[room].body:
        if room == "__main__" or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign, ast.If)
        assert isinstance(node, kinds), f"{room}: {ast.unparse(node)}"
        assert not isinstance(node, ast.If) or ast.unparse(node.test) == "TYPE_CHECKING"
        assert not isinstance(node, ast.ImportFrom) or node.names[0].name != "*"


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


def test_the_changelog_knows_the_version() -> None:
    assert re.search(rf"^## {re.escape(music2latent.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_the_picture_of_the_house_shows_every_room() -> None:
    picture = (ROOT / "docs" / "architecture.md").read_text()
    for room in FLOOR:
        assert f"{room.split('.')[-1]}.py" in picture or "." in room, room
