"""Loads on a server: wrk's closed loop, and our own client's open and closed loops, each in a pinned process."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.pictures import Request
from benchmarks.processes import ROOT, Server

SCRIPT = Path(__file__).with_name("wrk.lua")
CLIENT_TIMEOUT_S = 10
START_S = 60.0


class LoadFailed(Exception):
    """The load itself did not work, or was answered with errors where none may be; the text says which."""


def ask(port: int, request: Request, which: int = 0) -> bytes:
    """The answer to one of the request's bodies.

    Raises:
        LoadFailed: it was no 200, or none came.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CLIENT_TIMEOUT_S)
    try:
        connection.request("POST", request.path, request.bodies[which], request.headers)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise LoadFailed(repr(error)) from None
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise LoadFailed(f"{request.path}: {answer.status} {content[:500]!r}")
    return content


def wait_for_first_answer(server: Server, request: Request) -> None:
    """Until it answers well, which may be after it listens. Stops it, and raises `LoadFailed`, if it does not."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            ask(server.port, request)
        except LoadFailed as error:
            if server.has_ended() or time.monotonic() > deadline:
                server.stop()
                log = "\n".join(server.log.read_text(errors="replace").splitlines()[-15:])
                raise LoadFailed(f"no answer after the start: {error}\n{log}") from None
            time.sleep(0.01)
        else:
            return


def has_wrk() -> bool:
    return shutil.which("wrk") is not None


def wrk(port: int, request: Request, *, connections: int, seconds: float, cpus: Iterable[int]) -> dict[str, Any]:
    """`requests` answered well, `seconds`, `p50_ms`, `p99_ms`. Each connection asks again once it has its answer.

    Raises:
        LoadFailed: an answer was no 2xx, or a connection broke.
    """
    with _files(request.bodies) as bodies:
        options = ["-t1", f"-c{connections}", f"-d{seconds:.0f}s", f"--timeout={CLIENT_TIMEOUT_S}s", f"-s{SCRIPT}"]
        url = f"http://127.0.0.1:{port}{request.path}"
        headers = [f"{name}: {value}" for name, value in request.headers.items()]
        output = run(["wrk", *options, url, "--", *headers, *bodies], cpus)
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    if not result["requests"]:
        raise LoadFailed(f"{url}: no answer within {seconds:.0f} s; give it more with --seconds")
    if result["refused"] or result["failed"]:
        raise LoadFailed(f"{url}: not every answer was good\n{output}")
    return result


def own_client(
    port: int,
    request: Request,
    *,
    connections: int,
    seconds: float,
    cpus: Iterable[int],
    rate: float | None = None,
) -> dict[str, Any]:
    """What `benchmarks.client` counted: an open loop of `rate` requests a second, or without one a closed loop."""
    with _files(request.bodies) as bodies:
        asked = {
            "port": port,
            "path": request.path,
            "content_type": request.content_type,
            "bodies": bodies,
            "connections": connections,
            "seconds": seconds,
            "rate": rate,
        }
        result: dict[str, Any] = json.loads(run([sys.executable, "-m", "benchmarks.client", json.dumps(asked)], cpus))
    return result


@contextmanager
def _files(bodies: Sequence[bytes]) -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, str(index)) for index in range(len(bodies))]
        for path, body in zip(paths, bodies, strict=True):
            path.write_bytes(body)
        yield [str(path) for path in paths]


def run(command: list[str], cpus: Iterable[int]) -> str:
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        os.sched_setaffinity(process.pid, cpus)
        output, errors = process.communicate()
    if process.returncode:
        raise LoadFailed(f"{command[0]} ended with {process.returncode}: {errors.strip()}")
    return output
