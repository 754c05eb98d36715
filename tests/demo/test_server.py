"""Where the page is served, and that it is for this machine alone."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest

from music2latent import EncoderDecoder, InputError
from music2latent.demo.server import check_place, is_local, serving

from .places import free_port, tidied

pytestmark = pytest.mark.filterwarnings("ignore")  # of Gradio and what it is made of


def test_a_page_that_keeps_to_itself_and_leaves_nothing(tiny: EncoderDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gradio", reason="the extra demo is not installed")
    asked, real = [], socket.getaddrinfo

    def lookup(host: str, *more: object, **options: object) -> object:
        asked.append(host)
        return real(host, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setenv("GRADIO_TEMP_DIR", "before")
    monkeypatch.setenv("GRADIO_SHARE", "True")
    port = free_port()
    with tidied(), serving({"tiny": tiny}, host="127.0.0.1", port=port, most_seconds=60, most_megabytes=1) as url:
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        assert folder.is_dir()
        text = urlopen(url).read().decode()
        with pytest.raises(InputError, match=f"127.0.0.1:{port} cannot be listened at"):
            check_place("127.0.0.1", port)
    assert set(asked) == {"127.0.0.1"}
    assert not folder.exists()
    assert os.environ["GRADIO_TEMP_DIR"] == "before"
    found = re.search(r"window\.gradio_config = (.*?);</script>", text)
    assert found
    config = json.loads(found[1])
    assert not config["analytics_enabled"]
    assert not re.search(r"<(?:link|script)[^>]*(?:href|src)=.(?:https?:)?//", text)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        *(("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("::", False), ("192.168.1.2", False), ("example.org", False)),
    ],
)
def test_which_addresses_are_of_this_machine_alone(host: str, local: bool) -> None:
    assert is_local(host) is local


@pytest.mark.parametrize("host", ["192.0.2.1", "no such name", "a" * 300, "\udcff"])
def test_places_that_are_not_here_are_refused(host: str) -> None:
    with pytest.raises(InputError, match="cannot be listened at"):
        check_place(host, 7860)
