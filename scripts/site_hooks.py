"""What mkdocs does for this project beyond its plugins; named in mkdocs.yml.

Pages link to files outside docs/, as they have to where a code host shows them: those files become part of the site.
The notebook becomes a page with the outputs it was saved with, and Typer writes the command line's reference. A site
that has a dead link, or a page that loads anything from elsewhere, is refused.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parent.parent
CARD = "music2latent/weights/README.md"
LINK = re.compile(r"(?<=\]\()[^\s()#:]+")
INCLUDED = re.compile(r'^\[[^]\n]+\]\(([^\s()]+) "included"\)$', re.M)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what does not lie in docs/ as the site shows it."""
    for path in sorted(outside()):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, "reference/cli.md", content=command_line()))
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(notebook)
        body, resources = MarkdownExporter().from_filename(str(notebook.abs_src_path))  # type: ignore[no-untyped-call]
        contents = {notebook.src_uri.replace(".ipynb", ".md"): body} | resources["outputs"]  # pictures lie beside it
        for uri, content in contents.items():
            files.append(File.generated(config, uri, content=content))
    return files


@cache
def outside() -> set[str]:
    """Files outside docs/ that pages link to, and what is linked to from there: the site has them at the same path."""
    found, waiting = set[str](), [path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")]
    for path in waiting:
        if path.endswith(".md"):
            links = {target_of(link, path) for link in LINK.findall((ROOT / path).read_text())}
            new = {link for link in links - found if not link.startswith("docs/") and (ROOT / link).is_file()}
            found |= new
            waiting += new
    return found - {CARD}


def target_of(link: str, path: str) -> str:
    """The file of the repository that a link in the file `path` leads to."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link))
    return f"{target}/README.md" if (ROOT / target).is_dir() else target


def command_line() -> str:
    """The reference of all verbs, as a page."""
    command = [sys.executable, "-m", "typer", "music2latent.cli", "utils", "docs", "--name", "music2latent"]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links round; a paragraph that is one link with the title "included" becomes the text of that file."""
    uri = page.file.src_uri
    path = uri if uri in outside() else f"docs/{uri}"

    def included(match: re.Match[str]) -> str:
        source = target_of(match[1], path)
        return links_of_the_site(re.sub(r"^#", "##", (ROOT / source).read_text(), flags=re.M), source, uri)

    return links_of_the_site(INCLUDED.sub(included, markdown), path, uri)


def links_of_the_site(markdown: str, path: str, uri: str) -> str:
    """Relative links of a file of the repository -> links of the page `uri`; what is not in the repository stays."""

    def turned(match: re.Match[str]) -> str:
        target = target_of(match[0], path)
        if not (ROOT / target).is_file():
            return match[0]
        place = "model.md" if target == CARD else target.removeprefix("docs/").replace(".ipynb", ".md")
        return posixpath.relpath(place, posixpath.dirname(uri) or ".")

    return LINK.sub(turned, markdown)


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site with faults.

    Raises:
        PluginError: naming all of them.
    """
    found = faults(Path(config.site_dir))
    if found:
        raise PluginError("\n".join(found))


class _References(HTMLParser):
    """Anchors of a page, where it leads, and what it loads."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.anchors, self.links, self.loaded = {""}, set[str](), set[str]()
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value for key, value in attrs if value}
        self.anchors |= {values[key] for key in ("id", "name") if key in values}
        if "href" in values:
            (self.links if tag == "a" else self.loaded).add(values["href"])
        self.loaded |= {values[key] for key in ("src", "poster", "data", "srcset") if key in values}
        self.loaded |= set(re.findall(r"url\(\s*['\"]?([^'\")]+)", values.get("style", "")))


def faults(site: Path) -> list[str]:
    """Dead links of a built site, and what its pages and style sheets load from elsewhere."""
    pages = {path: _References(path.read_text()) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        for link in sorted(page.links | page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loaded and parts.scheme != "data":
                    found.append(f"{path.relative_to(site)} loads {link}")
                continue
            base = site if parts.path.startswith("/") else path.parent
            target = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else path.resolve()
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (target in pages and unquote(parts.fragment) not in pages[target].anchors):
                found.append(f"{path.relative_to(site)} leads to {link}, which is not there")
    for path in site.rglob("*.css"):
        for link in re.findall(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)", path.read_text()):
            found.append(f"{path.relative_to(site)} loads {link}")
    return found
