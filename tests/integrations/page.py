"""Code of docs/integrations.md that needs what only a test here provides; `tests/test_docs.py` runs the rest."""

from __future__ import annotations

import re

from ..helpers import ROOT


def run_page(section: str, **names: object) -> None:
    """Run the `py` block of a section, in which these names are known."""
    page = (ROOT / "docs" / "integrations.md").read_text()
    (code,) = re.findall(r"^```py\n(.*?)^```", page.split(f"\n## {section}\n")[1].split("\n## ")[0], re.M | re.S)
    exec(compile(code, section, "exec"), names)
