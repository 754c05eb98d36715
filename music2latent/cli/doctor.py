"""doctor: what this installation has, and what it lacks."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import InputError
from .models import print_facts
from .running import finish


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for a bug report.")] = False,
) -> None:
    """Versions, devices, formats, folders, the hub and the default model; exit code 1 if something has to be mended."""
    from ..doctor import report

    found = report()
    print_facts(found if as_json else {key: value for key, value in found.items() if key != "problems"}, as_json)
    finish([InputError(problem) for problem in found["problems"]], 1)
