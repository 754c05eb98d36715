"""Code of the docs that needs what only a test provides; `tests/test_docs.py` runs the rest."""

from __future__ import annotations

import re

from ..helpers import ROOT


def run_page(section: str, name: str = "integrations.md", **names: object) -> None:
    """Run the `py` block of a section, in which these names are known."""
    page = (ROOT / "docs" / name).read_text()
    (text,) = re.findall(rf"^##+ {section}\n(.*?)(?=^##|\Z)", page, re.M | re.S)
    (code,) = re.findall(r"^```py\n(.*?)^```", text, re.M | re.S)
    exec(compile(code, section, "exec"), names)
