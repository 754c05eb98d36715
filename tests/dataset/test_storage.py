from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from music2latent import InputError
from music2latent.dataset import storage as module
from music2latent.dataset.merging import merge
from music2latent.dataset.storage import Storage, again

from .inline import Inline, Killed, made, sounds, tree, values_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # botocore's, moto's


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, dict[str, Any]]]:
    """An S3 server on loopback that fails one request in twenty: with an error, or by cutting the connection."""
    serving, server = pytest.importorskip("werkzeug.serving"), pytest.importorskip("moto.server")
    app = server.DomainDispatcherApplication(server.create_backend_app)
    count = itertools.count(1)

    def flaky(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        number = next(count)
        if number % 40 == 0:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if number % 20 == 0:
            start_response("503 Slow Down", [("Content-Length", "0")])
            return [b""]
        return app(environ, start_response)

    one = serving.make_server("127.0.0.1", 0, flaky, threaded=True)
    thread = Thread(target=one.serve_forever, daemon=True)
    thread.start()
    options = {
        "key": "test",
        "secret": "test",
        "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{one.server_port}", "region_name": "eu-west-1"},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        fs, _ = module.open_filesystem("s3://songs", options)
        again("bucket", lambda: fs.mkdir("s3://songs"))
        yield "s3://songs", options
    one.shutdown()
    thread.join()


def test_objects_in_and_out_while_requests_fail(s3: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    bucket, options = s3
    folder = sounds(tmp_path / "audio", [3000, 4000, 5000, 6000, 7000])
    store = Storage(f"{bucket}/audio", options)
    for path in folder.iterdir():
        store.write(path.name, path.read_bytes())
    made([folder], tmp_path / "set")
    out: dict[str, Any] = {"options": options, "output_options": options}
    with pytest.raises(Killed):
        made([f"{bucket}/audio"], f"{bucket}/set", Inline(kill_after=5), **out)
    made([f"{bucket}/audio"], f"{bucket}/set", engine := Inline(), **out)
    assert 0 < engine.made < 5
    whole = Storage(f"{bucket}/set", options)
    assert problems_of(whole, options, f"{bucket}/audio") == []
    made([f"{bucket}/audio"], f"{bucket}/set", engine := Inline(), **out)
    assert engine.made == 0
    copy = tmp_path / "copy"
    for name, _ in whole.list(below=True):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(whole.read(name))
    found, expected = values_of(copy).values(), values_of(tmp_path / "set").values()
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    for number in (1, 2):
        made([f"{bucket}/audio"], f"{bucket}/parts", part=(number, 2), **out)
    assert merge([f"{bucket}/parts"], f"{bucket}/joined", options)["counts"]["items"] == 5
    assert problems_of(Storage(f"{bucket}/joined", options), options) == []


def problems_of(storage: Storage, options: dict[str, Any], *inputs: str) -> list[str]:
    from music2latent.dataset.verification import verify

    return list(verify(storage.url, inputs=inputs, options=options, output_options=options))


def test_a_job_at_object_storage_is_alone(s3: tuple[str, dict[str, Any]]) -> None:
    bucket, options = s3
    one, other = Storage(f"{bucket}/alone", options), Storage(f"{bucket}/alone", options)
    refused = pytest.raises(InputError, match="another job writes there.*its claim ends in")
    with one.claimed("lock"), refused, other.claimed("lock"):
        pass
    with other.claimed("lock"):
        pass
    one.write_json("lock", {"job": "dead", "until": 0})
    with other.claimed("lock"):
        pass


def test_no_bucket_no_credentials(s3: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    _, options = s3
    folder = sounds(tmp_path / "audio", [3000])
    with pytest.raises(InputError, match="s3://nowhere.*no such bucket"):
        made([folder], "s3://nowhere/set", output_options=options)
    with pytest.raises(InputError, match="no such file, folder or bucket"):
        made(["s3://nowhere/audio"], tmp_path / "set", options=options)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        with pytest.raises(InputError, match=r"(?i)credentials"):
            made([folder], "s3://songs/set2", output_options={"client_kwargs": options["client_kwargs"]})


def test_again() -> None:
    with pytest.MonkeyPatch.context() as patch:
        waits: list[float] = []
        patch.setattr("time.sleep", waits.append)
        answers = iter([ConnectionError("cut"), TimeoutError("late"), "answer"])

        def call() -> str:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return str(answer)

        assert again("x", call) == "answer"
        assert len(waits) == 2

        def never() -> None:
            raise PermissionError("no")

        with pytest.raises(InputError, match="x: PermissionError: no"):
            again("x", never)
        assert len(waits) == 2


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_files(tmp_path: Path, kind: str) -> None:
    store = Storage(tmp_path / "set" if kind == "local" else f"memory://{tmp_path.name}")
    assert list(store.list()) == []
    with pytest.raises(FileNotFoundError):
        store.read("a")
    store.write("deep/a", b"12345")
    store.write_json("b", {"c": 1})
    (tmp_path / "file").write_bytes(b"moved")
    store.put(tmp_path / "file", "d")
    assert store.read("deep/a") == b"12345"
    assert store.read_range("deep/a", 1, 3) == b"23"
    assert store.read_json("b") == {"c": 1}
    assert [name for name, _ in store.list()] == ["b", "d"]
    assert dict(store.list(below=True)) == {"b": 8, "d": 5, "deep/a": 5}
    assert store.exists("deep/a")
    assert not store.exists("deep")
    assert [name for name in store.folders() if not name.startswith(".")] == ["deep"]
    store.remove("d")
    store.remove("d")
    assert [name for name, _ in store.list()] == ["b"]
    with store.scratch() as folder:
        (folder / "x").touch()
    assert not folder.exists()
    if kind == "local":
        store.sweep()
        assert set(tree(tmp_path / "set")) == {"b", "deep/a"}
