"""Code of the docs that needs what only a test provides; `tests/test_docs.py` runs the rest."""

from __future__ import annotations

import re
from typing import Any

from ..helpers import ROOT


def run_page(section: str, name: str = "integrations.md", **names: Any) -> dict[str, Any]:
    """Run the `py` block of a section, in which these names are known; returns them with those that it made."""
    page = (ROOT / "docs" / name).read_text()
    (text,) = re.findall(rf"^##+ {section}\n(.*?)(?=^##|\Z)", page, re.M | re.S)
    (code,) = re.findall(r"^```py\n(.*?)^```", text, re.M | re.S)
    exec(compile(code, section, "exec"), names)
    return names
