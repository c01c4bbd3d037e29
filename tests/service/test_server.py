"""A real service in its own process: clients, limits while streaming, signals."""

import contextlib
import json
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from conftest import png, strokes
from live import Live, digits, serving
from networks import write_linear_model

PNG = {"content-type": "image/png"}


def test_it_greets_with_its_address_and_a_line_to_try(live: Live) -> None:
    assert "cnn, dense" in live.greeting
    assert "curl -F file=@" in live.greeting
    file = Path(live.greeting.split("file=@")[1].split()[0])
    assert httpx.post(f"{live.url}/predict", content=file.read_bytes(), headers=PNG).status_code == 200


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_greets_with_the_models_that_answer(tmp_path: Path, workers: str) -> None:
    write_linear_model(tmp_path / "cnn" / "1")
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "model.onnx").write_bytes(b"half a file")
    with serving(tmp_path, DIGITS_WORKERS=workers) as running:
        assert running.greeting.startswith("Serving cnn on ")


def test_unusual_requests_take_the_long_way_to_the_same_answer(live: Live) -> None:
    body = png(strokes())
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"
    short = head + b"content-length: %d\r\n\r\n" % len(body) + body
    unusual = [
        head + b"expect: 100-continue\r\ncontent-length: %d\r\n\r\n" % len(body) + body,
        head + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
        head + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(body) + body,
        short.replace(b"HTTP/1.1", b"HTTP/1.0"),
        short.replace(b"/predict", b"http://x/predict"),
    ]
    with live.connect() as link:
        link.sendall(short)
        expected = answer_body(link)
    for request in unusual:
        with live.connect() as link:
            link.sendall(request)
            assert answer_body(link) == expected


def answer_body(link: socket.socket) -> bytes:
    """The body of the one 200 that comes."""
    received = b""
    while not received.endswith(b"}"):
        received += link.recv(65536)
    assert b"HTTP/1.1 200" in received
    return received.rpartition(b"\r\n\r\n")[2]


def test_callers_at_the_same_time_get_their_own_answers(live: Live) -> None:
    alone = {}
    with httpx.Client(base_url=live.url) as client:
        for seed in range(40):
            alone[seed] = client.post("/predict", content=png(strokes(seed)), headers=PNG).json()["probabilities"]
    assert len({tuple(row) for row in alone.values()}) == 40

    def ask(seed: int) -> None:
        with httpx.Client(base_url=live.url) as client:
            for _ in range(5):
                answer = client.post("/predict", content=png(strokes(seed)), headers=PNG).json()
                assert answer["probabilities"] == pytest.approx(alone[seed], abs=1e-6)

    with ThreadPoolExecutor(20) as callers:
        list(callers.map(ask, range(40)))


def test_pipelined_requests_are_answered_in_order(live: Live) -> None:
    bodies = [png(strokes(seed)) for seed in range(8)]
    requests = b"".join(
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\n"
        b"x-request-id: id-%d\r\ncontent-length: %d\r\n\r\n"
        % (number, len(body)) + body
        for number, body in enumerate(bodies)
    )  # fmt: skip
    with live.connect() as link:
        link.sendall(requests)
        received = b""
        while received.count(b"x-request-id") < len(bodies):
            received += link.recv(65536)
    order = [received.index(b"id-%d\r\n" % number) for number in range(len(bodies))]
    assert order == sorted(order)


def test_a_body_over_the_limit_is_refused_before_it_is_whole(live: Live) -> None:
    with live.connect() as link:
        link.sendall(
            b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        block = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        link.settimeout(0.0)
        answer = b""
        for _ in range(400):  # 26 MB; the limit is 10
            try:
                answer += link.recv(65536)
                break
            except BlockingIOError:
                link.settimeout(30)
                link.sendall(block)
                link.settimeout(0.0)
        link.settimeout(30)
        answer = answer or link.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413")


def test_clients_that_hang_up_harm_nobody(live: Live) -> None:
    body = png(strokes())
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n" % len(body)
    for sent in (b"POST /pre", head, head + body[:20], head + body):
        for _ in range(10):
            with live.connect() as link:
                link.sendall(sent)
    assert httpx.post(f"{live.url}/predict", content=body, headers=PNG).status_code == 200


def test_a_head_without_an_end_is_refused(live: Live) -> None:
    with live.connect() as link, contextlib.suppress(ConnectionError):
        link.sendall(b"POST /predict HTTP/1.1\r\n")
        for number in range(20_000):
            link.sendall(b"x-%d: %s\r\n" % (number, b"y" * 100))
        pytest.fail("two megabytes of headers were taken")
    assert httpx.get(f"{live.url}/health/live").status_code == 200


@pytest.mark.parametrize("sent", [b"", b"POST /pre", b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"])
def test_who_sends_too_slowly_is_cut_off(models: Path, sent: bytes) -> None:
    with serving(models, DIGITS_REQUEST_TIMEOUT_S="0.2") as running, running.connect() as link:
        link.sendall(sent)
        received = b""
        while chunk := link.recv(65536):
            received += chunk
        assert received == b"" or received.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(("path", "told"), [(b"/predict", "detail"), (b"/v2/models/cnn/infer?a=b", "error")])
def test_who_is_cut_off_is_told_in_the_form_of_the_route(models: Path, path: bytes, told: str) -> None:
    with serving(models, DIGITS_REQUEST_TIMEOUT_S="1") as running:
        httpx.post(running.url + path.decode(), content=b"{")  # the first to an infer path is the framework's
        with running.connect() as link:
            link.sendall(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n" % path)
            received = b""
            while chunk := link.recv(65536):
                received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert "slower than" in json.loads(body)[told]
    assert told == "detail" or set(json.loads(body)) == {"error"}


def test_what_is_no_http_gets_a_problem_with_an_id(live: Live) -> None:
    with live.connect() as link:
        link.sendall(b"NONSENSE /predict\r\n\r\n")
        received = b""
        while chunk := link.recv(65536):
            received += chunk
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in received
    assert b"x-request-id" in received


def test_a_request_that_offers_another_protocol_is_answered_in_this_one(live: Live) -> None:
    body = png(strokes())
    upgrade = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAMAAABkAAQAoAAAAAIAAAAA"}
    for headers in (PNG | upgrade, PNG | {"Connection": "upgrade", "Upgrade": "websocket"}):
        assert httpx.post(f"{live.url}/predict", content=body, headers=headers).status_code == 200


def test_trailers_change_nothing(live: Live) -> None:
    body = png(strokes())
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\n"
    with live.connect() as link:
        link.sendall(
            head + b"%x\r\n" % len(body) + body + b"\r\n0\r\ncontent-type: text/plain\r\nx-request-id: t\r\n\r\n"
        )
        assert b"digit" in answer_body(link)


def test_a_large_body_and_the_next_head_in_pieces_are_both_answered(live: Live) -> None:
    large = png(np.random.default_rng(0).integers(0, 256, (550, 550), np.uint8), compress_level=0)
    head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n"
    with live.connect() as link:
        link.sendall(head % len(large) + large + b"GET /health/l")
        link.sendall(b"ive HTTP/1.1\r\nhost: x\r\n\r\n")
        received = b""
        while received.count(b"HTTP/1.1 200") < 2 or not received.endswith(b"}"):
            received += link.recv(65536)


def test_probes_answer_while_large_pictures_are_read(live: Live) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3000, 3000), np.uint8)
    large = png(noise, compress_level=0)
    with ThreadPoolExecutor(4) as callers:
        asked = [callers.submit(httpx.post, f"{live.url}/predict", content=large, headers=PNG, timeout=60)
                 for _ in range(4)]  # fmt: skip
        while not all(task.done() for task in asked):
            assert httpx.get(f"{live.url}/health/live", timeout=5).status_code == 200
        assert [task.result().status_code for task in asked] == [200] * 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_code_0_after_the_answer(models: Path, number: int) -> None:
    with serving(models) as running, running.connect() as link:
        body = png(strokes())
        head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: %d\r\n\r\n" % len(body)
        link.sendall(head + body[:-1])
        probe = httpx.get(f"{running.url}/health/live")  # so that the service has read the head by now
        assert probe.status_code == 200
        ended = threading.Thread(target=lambda: setattr(running, "result", running.stop(number)))
        ended.start()
        link.sendall(body[-1:])
        received = b""
        while chunk := link.recv(65536):
            received += chunk
        ended.join()
        code, log = running.result
    assert received.startswith(b"HTTP/1.1 200")
    assert code == 0
    assert "Traceback" not in log


def test_a_drain_delay_stops_readiness_before_the_port(models: Path) -> None:
    with serving(models, DIGITS_DRAIN_DELAY_S="600") as running:
        running.process.send_signal(signal.SIGTERM)
        with httpx.Client(base_url=running.url) as client:
            while client.get("/health/ready").status_code == 200:
                pass
            assert client.get("/health/live").status_code == 200
            assert client.post("/predict", content=png(strokes()), headers=PNG).status_code == 200
        assert running.stop()[0] == 0  # a second signal ends the wait


@pytest.mark.parametrize("count", ["1", "2"])
def test_a_port_in_use_is_one_line_and_a_code(models: Path, live: Live, count: str) -> None:
    port = str(urlsplit(live.url).port)
    done = digits("serve", models=models, DIGITS_PORT=port, DIGITS_WORKERS=count)
    assert done.returncode == 1
    assert f"DIGITS_PORT={port}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_its_log_is_json_with_one_access_line_a_request(models: Path) -> None:
    with serving(models) as running:
        httpx.post(f"{running.url}/predict", content=png(strokes()), headers=PNG | {"x-request-id": "mine"})
        _, log = running.stop()
    lines = [json.loads(line) for line in log.splitlines()]
    (access,) = [line for line in lines if line.get("request_id") == "mine"]
    assert (access["method"], access["path"], access["status"]) == ("POST", "/predict", 200)
    assert "infer" in access["server_timing"]


def test_several_workers_share_the_port_and_one_that_dies_is_replaced(models: Path) -> None:
    body = png(strokes())
    with serving(models, DIGITS_WORKERS="2") as running:
        answers = {httpx.post(f"{running.url}/predict", content=body, headers=PNG).text for _ in range(20)}
        assert len(answers) == 1
        first = workers(running)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        while len(workers(running)) < 2 or first[0] in workers(running):
            pass
        assert httpx.post(f"{running.url}/predict", content=body, headers=PNG).status_code == 200
        code, log = running.stop()
    assert code == 0
    assert all(json.loads(line) for line in log.splitlines())


def test_a_worker_that_dies_takes_nothing_along_when_its_models_were_spoilt_meanwhile(tmp_path: Path) -> None:
    network = write_linear_model(tmp_path / "cnn" / "1")
    whole = network.read_bytes()
    with serving(tmp_path, DIGITS_WORKERS="2", DIGITS_REPOSITORY_POLL_S="0.1") as running:
        url = f"{running.url}/predict?preprocess=none"
        body = {"pixels": strokes().tolist()}
        while running.log().count("Application startup complete") < 2:
            pass
        (dies, lives) = first = workers(running)
        network.write_bytes(whole[:1000])
        os.kill(dies, signal.SIGKILL)
        while "this worker cannot start" not in running.log():
            assert httpx.post(url, json=body).status_code == 200
        assert httpx.get(f"{running.url}/health/ready").status_code == 200
        network.write_bytes(whole)
        while running.log().count("Application startup complete") < 3:
            assert httpx.post(url, json=body).status_code == 200
        assert len(set(workers(running)) - set(first)) == 1
        assert lives in workers(running)
        network.write_bytes(whole[:1000])
        os.kill(lives, signal.SIGKILL)
        while running.log().count("this worker cannot start") < 2:
            assert httpx.post(url, json=body).status_code == 200
        assert running.stop()[0] == 0


def test_workers_that_cannot_start_end_the_service(tmp_path: Path) -> None:
    (tmp_path / "cnn" / "1").mkdir(parents=True)
    (tmp_path / "cnn" / "1" / "model.onnx").write_bytes(b"half a file")
    with pytest.raises(AssertionError, match="no address"), serving(tmp_path, DIGITS_WORKERS="2"):
        pass


def workers(live: Live) -> list[int]:
    """Process ids of the spawned workers; the resource tracker of multiprocessing is not one."""
    children = Path(f"/proc/{live.process.pid}/task/{live.process.pid}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in command_line(child)]


def command_line(process: str) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:  # it ended while we looked
        return ""
