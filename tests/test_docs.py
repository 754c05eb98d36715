"""What the README and the docs show runs: every python block, and every music2latent command. And the site's hooks."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile

from music2latent import EncoderDecoder
from music2latent.dataset.encoding import encode

from .dataset.inline import Inline
from .helpers import CLIP, Result
from .integrations.page import run_page

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _blocks(language: str) -> list[tuple[str, str]]:
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.M | re.S)
    return [
        (f"{page.stem}-{number}", block)
        for page in PAGES
        for number, block in enumerate(pattern.findall(page.read_text()), 1)
    ]


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    samples, rate = soundfile.read(CLIP, stop=4 * 44100)
    soundfile.write("song.ogg", samples, rate)
    Path("album").mkdir()
    shutil.copy("song.ogg", "album/one.ogg")


@pytest.fixture(scope="session")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set that the docs read."""
    folder = tmp_path_factory.mktemp("docs")
    samples, rate = soundfile.read(CLIP, stop=12 * 44100)
    for number in range(3):
        soundfile.write(folder / f"{number}.flac", samples[4 * number * rate :][: 4 * rate], rate)
    encode([folder], folder / "latents", EncoderDecoder(), shard_size=0.01, engine=Inline())
    return folder / "latents"


@pytest.mark.parametrize(("name", "code"), _blocks("python"))
def test_python(name: str, code: str, latents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And says nothing but what it prints: no warning, no log; transformers shows bars."""
    if "LatentDataset" in code or "LatentStream" in code:
        shutil.copytree(latents, "latents")
    exec(compile(code, name, "exec"), {"__name__": name})
    assert [line for line in capsys.readouterr().err.splitlines() if line and "it/s]" not in line] == []


def test_encoding_in_python() -> None:
    """As a script, which starts processes."""
    page = (ROOT / "docs/how-to/data-sets.md").read_text().partition("## In Python\n")[2]
    Path("script.py").write_text(page.partition("```py\n")[2].partition("```")[0].replace('"albums"', '"album"'))
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'items': 1" in done.stdout


@pytest.mark.filterwarnings("ignore")  # the frameworks' own
@pytest.mark.parametrize("section", ["Lightning", "Accelerate"])
def test_training_loops(section: str, latents: Path) -> None:
    shutil.copytree(latents, "latents")
    assert run_page(section, "how-to/data-sets.md")["data"].epoch == 1, "other crops in the second of two epochs"


@pytest.mark.parametrize(("name", "commands"), _blocks("console"))
def test_commands(name: str, commands: str) -> None:
    lines = [line.removeprefix("$ ") for line in commands.splitlines() if line.startswith("$ music2latent ")]
    assert lines, "a console block without a command of ours"
    for line in lines:
        done = Result(*shlex.split(line, comments=True)[1:])
        assert done.code == 0, f"{line}\n{done.err}"


def test_the_notebook_was_saved_as_it_ran() -> None:
    """make docs runs it; this is about what readers see."""
    text = (ROOT / "docs" / "tutorial.ipynb").read_text()
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result", "display_data"}
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert sum("<audio" in str(output) for output in outputs) > 4
    assert len(text) < 1_500_000


# ------------------------------------------------------------------------------------------------ the site


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("site_hooks")


@pytest.mark.parametrize(
    ("path", "uri", "link", "turned"),
    [
        ("docs/training.md", "training.md", "../benchmarks/training.md", "benchmarks/training.md"),
        (
            "docs/how-to/exports.md",
            "how-to/exports.md",
            "../../benchmarks/backends.md#x",
            "../benchmarks/backends.md#x",
        ),
        ("docs/how-to/live.md", "how-to/live.md", "../faq.md", "../faq.md"),
        ("docs/index.md", "index.md", "tutorial.ipynb", "tutorial.md"),
        ("docs/index.md", "index.md", "../music2latent/weights/README.md", "model.md"),
        ("music2latent/weights/README.md", "model.md", "../../docs/evaluation", "evaluation/README.md"),
        ("CHANGELOG.md", "CHANGELOG.md", "docs/architecture.md", "architecture.md"),
        ("docs/index.md", "index.md", "https://example.org/docs", "https://example.org/docs"),
        ("docs/index.md", "index.md", "nowhere.md", "nowhere.md"),
    ],
)
def test_links_are_turned_to_the_site(hooks: Any, path: str, uri: str, link: str, turned: str) -> None:
    assert hooks.links_of_the_site(f"a [word]({link}).", path, uri) == f"a [word]({turned})."


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example.org/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/a.css">',
        '<audio src="http://example.org/a.opus">',
        '<img srcset="https://example.org/a.png">',
        "<p style=\"background: url('https://example.org/a.png')\">",
        '<img src="missing.png">',
        '<a href="missing.html">',
        '<a href="other.html#missing">',
        '<a href="#missing">',
        '<a href="/missing">',
    ],
)
def test_a_site_with_a_fault_is_refused(hooks: Any, tmp_path: Path, text: str) -> None:
    good = '<a href="https://example.org"><a href="index.html#here"><a href="/"><img src="data:,x"><p id="here">'
    (tmp_path / "other.html").write_text(good)
    (tmp_path / "index.html").write_text(good)
    assert hooks.faults(tmp_path) == []
    (tmp_path / "index.html").write_text(good + text)
    assert len(hooks.faults(tmp_path)) == 1


@pytest.mark.parametrize("rule", ["@import '//example.org/a.css';", "p { background: url(https://example.org/a.png) }"])
def test_style_sheets_load_nothing_from_elsewhere(hooks: Any, tmp_path: Path, rule: str) -> None:
    (tmp_path / "a.css").write_text("p { background: url(data:,x) url('b.png') }" + rule)
    assert len(hooks.faults(tmp_path)) == 1
