"""Model repositories that are elsewhere: a real S3 server, and a web server's listing."""

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import s3fs
from conftest import strokes
from live import serving
from moto.server import ThreadedMotoServer
from networks import write_linear_model, write_model_with_weights_apart

from service.errors import StartupError
from service.inference.disk import scan
from service.inference.mirror import Mirror, local_folder
from service.inference.repository import Repository

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def s3_address() -> Iterator[str]:
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_address: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> s3fs.S3FileSystem:
    """A file system of an S3 server that our own finds by the standard variables."""
    for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": s3_address}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem = s3fs.S3FileSystem()
    bucket = f"models-{abs(hash(request.node.name))}"
    filesystem.mkdir(bucket)
    filesystem.bucket = bucket
    return filesystem


def put(bucket: Any, folder: Path, version: str) -> None:
    bucket.put(f"{folder / version}/", f"{bucket.bucket}/repo/{version}/", recursive=True)


def test_versions_come_change_and_go_with_the_bucket(tmp_path: Path, bucket: Any) -> None:
    here = tmp_path / "here"
    mirror = Mirror(f"s3://{bucket.bucket}/repo", tmp_path / "mirror")
    file = write_linear_model(here / "cnn" / "1", seed=1)
    (here / "cnn" / "1" / "model.keras").write_bytes(b"for training alone")
    put(bucket, here, "cnn/1")
    mirror.fetch()
    copy = tmp_path / "mirror" / "cnn" / "1" / "model.onnx"
    assert copy.read_bytes() == file.read_bytes()
    assert not copy.with_name("model.keras").exists()
    before = copy.stat()
    mirror.fetch()
    assert copy.stat() == before  # nothing changed, nothing is fetched
    changed = write_linear_model(here / "cnn" / "1", seed=2)
    put(bucket, here, "cnn/1")
    write_linear_model(here / "cnn" / "2", seed=3)
    put(bucket, here, "cnn/2")
    mirror.fetch()
    assert copy.read_bytes() == changed.read_bytes()
    assert [version.version for version in scan(tmp_path / "mirror")] == ["2", "1"]
    bucket.rm(f"{bucket.bucket}/repo/cnn/1", recursive=True)
    mirror.fetch()
    assert [version.version for version in scan(tmp_path / "mirror")] == ["2"]
    assert len(list((tmp_path / "mirror").glob(".content-*"))) == 1


def test_weights_in_files_of_their_own_come_along(tmp_path: Path, bucket: Any) -> None:
    write_model_with_weights_apart(tmp_path / "here" / "rows" / "1", 3.0, "weights/table.bin")
    put(bucket, tmp_path / "here", "rows/1")
    elsewhere = Repository(f"s3://{bucket.bucket}/repo", mirrors=tmp_path, device="cpu", threads=1, default_model="cnn")
    elsewhere.load()
    (found,) = elsewhere.find("rows").run((np.array([2]),))
    assert (found == 3).all()


def test_a_copy_that_was_spoilt_is_fetched_again(tmp_path: Path, bucket: Any) -> None:
    file = write_linear_model(tmp_path / "here" / "cnn" / "1")
    put(bucket, tmp_path / "here", "cnn/1")
    address, folder = f"s3://{bucket.bucket}/repo", tmp_path / "mirror"
    Mirror(address, folder).fetch()
    copy = folder / "cnn" / "1" / "model.onnx"
    copy.write_bytes(file.read_bytes()[:-1] + b"\0")
    (folder / ".content-cut-off").mkdir()  # a process was killed while it copied
    (folder / ".content-cut-off.link").symlink_to(".content-cut-off")
    Mirror(address, folder).fetch()  # as a process that starts anew
    assert copy.read_bytes() == file.read_bytes()
    assert len(list(folder.glob(".content-*"))) == 1


def test_what_was_copied_before_is_served_while_the_source_is_away(
    tmp_path: Path, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_linear_model(tmp_path / "here" / "cnn" / "1")
    put(bucket, tmp_path / "here", "cnn/1")
    address = f"s3://{bucket.bucket}/repo"
    Repository(address, mirrors=tmp_path, device="cpu", threads=1, default_model="cnn").load()
    os.utime(local_folder(address, tmp_path) / ".fetched", (0, 0))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()
    again = Repository(address, mirrors=tmp_path, device="cpu", threads=1, default_model="cnn")
    again.load()
    assert again.find("cnn").version == "1"
    with pytest.raises(OSError, match="cannot be read"):
        again.disk.fetch()


def test_a_bucket_without_models_stops_the_start(tmp_path: Path, bucket: Any) -> None:
    empty = Repository(f"s3://{bucket.bucket}/repo", mirrors=tmp_path, device="cpu", threads=1, default_model="cnn")
    with pytest.raises(StartupError, match="Nothing was copied"):
        empty.load()
    bucket.pipe(f"{bucket.bucket}/repo/notes.txt", b"no model")
    with pytest.raises(StartupError, match="No model"):
        empty.load()


def test_an_address_that_cannot_be_read_stops_the_start_where_nothing_was_copied(tmp_path: Path) -> None:
    for address, reason in (("nonsense://models", "nonsense"), ("http://127.0.0.1:9/", "Nothing was copied")):
        nowhere = Repository(address, mirrors=tmp_path, device="cpu", threads=1, default_model="cnn")
        with pytest.raises(StartupError, match=reason):
            nowhere.load()


def test_a_service_follows_a_bucket(tmp_path: Path, bucket: Any, s3_address: str) -> None:
    write_linear_model(tmp_path / "here" / "cnn" / "1", seed=1)
    put(bucket, tmp_path / "here", "cnn/1")
    settings = {
        "DIGITS_MODEL_REPOSITORY": f"s3://{bucket.bucket}/repo",
        "DIGITS_MIRROR": str(tmp_path / "mirrors"),
        "DIGITS_REPOSITORY_POLL_S": "0.2",
        "DIGITS_WORKERS": "2",
        "AWS_ENDPOINT_URL": s3_address,
        **CREDENTIALS,
    }
    with serving(tmp_path, **settings) as live:
        body = {"pixels": strokes().tolist()}
        assert httpx.post(f"{live.url}/predict", json=body).json()["model_version"] == "1"
        write_linear_model(tmp_path / "here" / "cnn" / "2", seed=2)
        put(bucket, tmp_path / "here", "cnn/2")
        answers: list[str] = []
        while answers[-20:] != ["2"] * 20:  # of both workers
            answers.append(httpx.post(f"{live.url}/predict", json=body).json()["model_version"])


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


def test_a_web_servers_listing_is_a_repository_too(tmp_path: Path) -> None:
    file = write_linear_model(tmp_path / "here" / "cnn" / "1")
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path / "here")
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        mirror = Mirror(f"http://127.0.0.1:{server.server_port}/", tmp_path / "mirror")
        mirror.fetch()
        copy = tmp_path / "mirror" / "cnn" / "1" / "model.onnx"
        assert copy.read_bytes() == file.read_bytes()
        write_linear_model(tmp_path / "here" / "cnn" / "2")
        mirror.fetch()
        assert len(scan(tmp_path / "mirror")) == 2
        server.shutdown()
        thread.join()
    with pytest.raises(OSError, match="cannot be read"):
        mirror.fetch()
    assert len(scan(tmp_path / "mirror")) == 2
