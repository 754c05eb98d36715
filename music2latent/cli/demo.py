"""demo: a page in the browser."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Device, Dtype
from .output import complain, show


def demo(
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="A model on offer, as elsewhere; may be given several times."),
    ] = None,
    device: Device = None,
    dtype: Dtype = "auto",
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen at.")] = 7860,
    max_minutes: Annotated[float, typer.Option(min=0.1, help="Longest clip, in minutes of stereo.")] = 5,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Largest file that is accepted.")] = 100,
) -> None:
    """A page in the browser: hear what the codec makes of a clip, see, keep, mix and edit its latents.

    It is for this machine alone unless --host says otherwise, and loads nothing from elsewhere. Ctrl-C ends it.
    """
    from ..extras import require

    require("demo")
    from ..codec import EncoderDecoder
    from ..demo.server import check_place, is_local, serving
    from ..settings import default_model
    from .stopping import until_interrupted

    check_place(host, port)
    names = model or [default_model().name]
    models = {name: EncoderDecoder(model=name, device=device, dtype=dtype) for name in names}
    if not is_local(host):
        complain(f"warning: --host {host}: whoever reaches this machine can use the page; no password, no encryption")
    with (
        until_interrupted() as stop,
        serving(models, host=host, port=port, most_seconds=60 * max_minutes, most_megabytes=max_megabytes) as url,
    ):
        show(f"{url} (Ctrl-C ends it)")
        while not stop.wait(0.5):  # a wait without an end would not hear Ctrl-C on Windows
            pass
