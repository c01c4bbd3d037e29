"""What the protocol refuses by itself, and clients that leave: told, logged and counted like everything else."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from live import Live, serving

STALLED = b"POST %b HTTP/1.1\r\nhost: x\r\nX-Request-ID: %b\r\ncontent-type: image/png\r\ncontent-length: 200\r\n\r\n{"


@pytest.fixture(scope="module")
def impatient(models: Path) -> Iterator[Live]:
    with serving(models, DIGITS_REQUEST_TIMEOUT_S="0.5") as running:
        yield running


def ask(live: Live, sent: bytes) -> bytes:
    """All that comes before the connection is closed."""
    received = b""
    with live.connect() as link:
        link.sendall(sent)
        while chunk := link.recv(65536):
            received += chunk
    return received


def access_line(live: Live, request_id: str) -> dict[str, object]:
    """What the log says of a request, once it does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for line in live.log().splitlines():
            if request_id in line and '"status"' in line:
                found: dict[str, object] = json.loads(line)
                return found
        time.sleep(0.01)
    raise AssertionError(f"no line of {request_id}")


def refusals(live: Live) -> dict[str, float]:
    lines = httpx.get(f"{live.url}/metrics").text.splitlines()
    told = [line.rpartition(" ") for line in lines if line.startswith("digits_refusals_total{")]
    return {name.split('"')[1]: float(value) for name, _, value in told}


@pytest.mark.parametrize(
    "path", [b"/predict", b"/%70redict", b"/v2/models/dense/infer", b"/v2/models/cnn/inf%65r", b"/v2/repository/index"]
)
def test_a_client_that_leaves_before_its_body_is_whole_is_no_bug(live: Live, path: bytes) -> None:
    request_id = f"gone{path.decode().translate(str.maketrans('/%', '--'))}"
    before = refusals(live)
    with live.connect() as link:
        link.sendall(STALLED % (path, request_id.encode()))
    assert access_line(live, request_id)["status"] == 499
    assert refusals(live) == before


@pytest.mark.parametrize(
    ("code", "status", "sent"),
    [
        ("too_slow", 408, STALLED % (b"/predict", b"slow-1")),
        ("too_slow", 408, STALLED % (b"/%70redict", b"slow-2")),
        ("too_slow", 408, STALLED % (b"/v2/models/cnn/infer", b"slow-3")),
        ("too_slow", 408, b"POST /predict HTTP/1.1\r\nX-Request-ID: slow-4\r\nhost: "),
        ("malformed_request", 400, b"POST /predict HTTP/1.1\r\nX-Request-ID: odd-1\r\ncontent-length: x\r\n\r\n"),
        (
            "malformed_request",
            400,
            b"GET /v2 HTTP/1.1\r\nX-Request-ID: odd-2\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        ),
    ],
)
def test_what_the_protocol_refuses_keeps_its_id_and_is_logged_and_counted(
    impatient: Live, code: str, status: int, sent: bytes
) -> None:
    request_id = sent.partition(b"X-Request-ID: ")[2].partition(b"\r\n")[0]
    before = refusals(impatient).get(code, 0)
    head = ask(impatient, sent).lower()
    assert head.startswith(b"http/1.1 %d " % status)
    assert b"x-request-id: %b\r\n" % request_id in head
    assert b"connection: close" in head
    assert access_line(impatient, request_id.decode())["status"] == status
    assert refusals(impatient)[code] == before + 1


@pytest.mark.parametrize(
    "sent", [b"FOO /v2/models/cnn HTTP/1.1\r\n\r\n", b"GET /v2 HTTP/1.1\r\nx: %b\r\n\r\n" % (b"y" * 70_000)]
)
def test_what_cannot_be_parsed_is_refused_in_the_form_of_its_route(impatient: Live, sent: bytes) -> None:
    head, _, body = ask(impatient, sent).partition(b"\r\n\r\n")
    assert b"application/json" in head
    assert json.loads(body).keys() == {"error"}


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"FOO / HTTP/1.1\r\n\r\n", "method"),
        (b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n", "Content-Length"),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", "url path"),
        (b"GET http://[/ HTTP/1.1\r\nhost: x\r\n\r\n", "address"),
    ],
)
def test_what_is_no_http_is_told_why(impatient: Live, sent: bytes, told: str) -> None:
    assert told in json.loads(ask(impatient, sent).partition(b"\r\n\r\n")[2])["detail"]


@pytest.mark.parametrize(("path", "length"), [(b"/nope", 100), (b"/%70redict", 20_000_000)])
def test_who_was_answered_before_its_body_was_whole_is_not_answered_again(
    impatient: Live, path: bytes, length: int
) -> None:
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n{" % (path, length)
    assert ask(impatient, head).count(b"HTTP/1.1 4") == 1
