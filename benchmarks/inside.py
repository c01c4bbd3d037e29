"""What a picture costs within the service's own process: without sockets and clients little of the noise is left.

    python -m benchmarks.inside          us of CPU a picture, the least of many repeats

To compare two commits run each in turn, some times.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from benchmarks import systems
from benchmarks.networks import write_repository
from benchmarks.pictures import Request, digits
from service.app import DigitService, create_app
from service.hot_protocol import HotProtocol
from service.logs import configure_logs
from service.settings import Settings

REPEATS = 60
PICTURES = 64
REQUESTS = 768  # of one picture each, for each repeat
CONNECTIONS = {"raw body": 64, "multipart": 64, f"batch of {PICTURES}": 4}


class _Link(asyncio.Transport):
    """A client that is ready for the next request as soon as it has its answer."""

    def __init__(self, answered: list[_Link], protocol: HotProtocol) -> None:
        super().__init__()
        self._answered = answered
        self.protocol = protocol

    def write(self, data: Any) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            raise AssertionError(f"refused: {data[:500]!r}")
        self._answered.append(self)

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        raise AssertionError("only who is refused is not read")

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


async def measure(app: DigitService, request: Request, connections: int, repeats: int) -> float:
    """CPU time of the event loop's thread for each picture, in us: the least of the repeats. `app` must be started."""
    config = uvicorn.Config(app, http=HotProtocol, proxy_headers=False, ws="none", log_config=None)
    config.load()
    ready: list[_Link] = []
    state = ServerState()
    for _ in range(connections):
        protocol = HotProtocol(config, state, {})
        protocol.connection_made(_Link(ready, protocol))
        ready.append(protocol.transport)  # type: ignore[arg-type]
    messages, sent, least = _messages(request), 0, float("inf")
    for _ in range(repeats):
        started, answered = time.thread_time(), 0
        while answered < REQUESTS / request.images:
            now = ready[:]
            ready.clear()
            for link in now:
                sent += 1
                link.protocol.data_received(messages[sent % len(messages)])
            while len(ready) < len(now):  # noqa: ASYNC110 - a turn of the loop is what is measured
                await asyncio.sleep(0)
            answered += len(now)
        least = min(least, (time.thread_time() - started) / answered / request.images)
    return 1e6 * least


def _messages(request: Request) -> list[bytes]:
    head = f"POST {request.path} HTTP/1.1\r\nHost: inside\r\nContent-Type: {request.content_type}\r\n"
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in request.bodies]


async def costs(repository: Path, repeats: int) -> dict[str, float]:
    """CPU us a picture of the dense network, for each way to send one."""
    changes: dict[str, Any] = {"model_repository": repository, "workers": 1, "threads": 1, "log_format": "json"}
    app = create_app(Settings(**changes))
    pictures = digits(PICTURES)
    requests = (
        systems.single(systems.SERVICE, "dense", pictures),
        systems.single(systems.SERVICE, "dense", pictures, multipart=True),
        systems.batch(systems.SERVICE, "dense", pictures),
    )
    async with app.router.lifespan_context(app):
        return {
            name: await measure(app, request, connections, repeats)
            for request, (name, connections) in zip(requests, CONNECTIONS.items(), strict=True)
        }


def main() -> int:
    sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - the access log is written, and read by nobody
    configure_logs("warning", "json")
    with tempfile.TemporaryDirectory() as folder:
        found = uvloop.run(costs(write_repository(Path(folder, "models")), REPEATS))
    print(", ".join(f"{name} {us:.1f} us" for name, us in found.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
