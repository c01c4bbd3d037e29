"""Repositories at `gs://` and `https://` addresses, as the service finds them by what is in its environment."""

import base64
import datetime as dt
import functools
import hashlib
import http.server
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest
from conftest import strokes
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from live import digits, serving
from networks import write_linear_model

BODY = {"pixels": strokes().tolist()}


@contextmanager
def listening(handler: Any, certificate: Path | None = None) -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


class CloudStorage(http.server.BaseHTTPRequestHandler):
    """As much of Google's JSON API as a reader of one bucket, `models`, asks for; its objects are files in `folder`.

    https://cloud.google.com/storage/docs/json_api/v1/objects; compared with fake-gcs-server, which answers alike.
    """

    def __init__(self, *arguments: Any, folder: Path) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        _, _, name = asked.path.partition("/b/models/o")
        query = {key: values[0] for key, values in parse_qs(asked.query).items()}
        if asked.path.startswith("/download/"):
            self._send((self.folder / unquote(name[1:])).read_bytes())
        elif not name:
            self._send(json.dumps(self._listing(**query)).encode())
        else:
            self.send_error(404)

    def _listing(self, prefix: str = "", delimiter: str = "", **_: str) -> dict[str, Any]:
        names = [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()]
        rests = {name: name.removeprefix(prefix) for name in names if name.startswith(prefix)}
        whole = [name for name, rest in rests.items() if not delimiter or delimiter not in rest]
        folders = {prefix + rest.split("/")[0] + "/" for name, rest in rests.items() if name not in whole}
        return {"items": [self._told(name) for name in whole], "prefixes": sorted(folders)}

    def _told(self, name: str) -> dict[str, Any]:
        content = (self.folder / name).read_bytes()
        digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        return {"bucket": "models", "name": name, "size": str(len(content)), "md5Hash": digest, "etag": digest}

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


class Folder(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


def publish(here: Path, version: int) -> None:
    staging = here.parent / f"staging-{version}"
    write_linear_model(staging, seed=version)
    (here / "cnn").mkdir(parents=True, exist_ok=True)
    staging.rename(here / "cnn" / str(version))


def follow(here: Path, mirrors: Path, **settings: str) -> None:
    """A service at the source in `here` answers with what is there, then with what appears there."""
    publish(here, 1)
    with serving(here, DIGITS_MIRROR=str(mirrors), DIGITS_REPOSITORY_POLL_S="0.1", **settings) as live:
        assert httpx.post(f"{live.url}/predict", json=BODY).json()["model_version"] == "1"
        publish(here, 2)
        while httpx.post(f"{live.url}/predict", json=BODY).json()["model_version"] != "2":
            pass


def test_a_bucket_of_google_cloud_storage(tmp_path: Path) -> None:
    with listening(functools.partial(CloudStorage, folder=tmp_path / "bucket")) as port:
        follow(
            tmp_path / "bucket" / "repo",
            tmp_path / "mirrors",
            DIGITS_MODEL_REPOSITORY="gs://models/repo",
            STORAGE_EMULATOR_HOST=f"http://127.0.0.1:{port}",
            GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT="false",  # else it first asks over gRPC, for a minute
        )


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a key and a certificate for 127.0.0.1 that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file = tmp_path / "certificate.pem"
    file.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()) + signed.public_bytes(pem))
    return file


def test_a_web_server_that_we_trust_over_tls(tmp_path: Path, certificate: Path) -> None:
    here = tmp_path / "here"
    with listening(functools.partial(Folder, directory=here), certificate) as port:
        address, mirrors = f"https://127.0.0.1:{port}/", tmp_path / "mirrors"
        follow(here, mirrors, DIGITS_MODEL_REPOSITORY=address, SSL_CERT_FILE=str(certificate))
        strange = digits("serve", DIGITS_MODEL_REPOSITORY=address, DIGITS_MIRROR=str(tmp_path / "other"))
        assert strange.returncode == 1
        assert "certificate verify failed" in strange.stderr
        assert "Traceback" not in strange.stderr
