"""A small HTTP client on raw sockets, in a process of its own, for what wrk cannot do: an open loop.

With a rate, requests come as a Poisson process whatever the server does, and latency counts from when each was due
(or a slow server would be asked less, and its delays not seen). Without one, each answer brings the next request.
"""

from __future__ import annotations

import json
import random
import re
import select
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
IN_TIME_S = 1.0
LAST_ANSWERS_S = 2.0


@dataclass
class _Connection:
    socket: socket.socket
    due: float = 0.0
    received: bytes = b""


@dataclass
class _Tally:
    statuses: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)  # of the answers with 200, in seconds
    refused_with_retry_after: int = 0
    sent: int = 0
    unsent: int = 0  # due while every connection waited for an answer
    broken: int = 0
    latest_send_s: float = 0.0  # how far the client itself fell behind

    def add(self, answer: bytes, latency: float) -> None:
        status = answer[9:12].decode()
        self.statuses[status] += 1
        if status == "200":
            self.latencies.append(latency)
        elif b"\r\nretry-after:" in answer.lower():
            self.refused_with_retry_after += 1

    def summary(self, seconds: float) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        in_time = sum(latency <= IN_TIME_S for latency in ordered)
        return {
            "seconds": seconds,
            "sent": self.sent,
            "unsent": self.unsent,
            "broken": self.broken,
            "statuses": dict(self.statuses),
            "refused_with_retry_after": self.refused_with_retry_after,
            "requests": len(ordered),
            "in_time": in_time,
            "p50_ms": 1e3 * percentile(ordered, 0.5) if ordered else None,
            "p99_ms": 1e3 * percentile(ordered, 0.99) if ordered else None,
            "latest_send_ms": 1e3 * self.latest_send_s,
        }


class _Client:
    def __init__(self, port: int, connections: int, requests: list[bytes]) -> None:
        self._port = port
        self._requests = requests
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle: list[_Connection] = []
        self.tally = _Tally()
        for _ in range(connections):
            self._connect()

    def _connect(self) -> None:
        opened = socket.create_connection(("127.0.0.1", self._port), 10)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setblocking(False)
        self._poll.register(opened, select.EPOLLIN)
        connection = _Connection(opened)
        self._connections[opened.fileno()] = connection
        self._idle.append(connection)

    def send(self, due: float) -> None:
        """One request on an idle connection. A request is small enough for the socket's buffer."""
        if not self._idle:
            self.tally.unsent += 1
            return
        connection = self._idle.pop()
        connection.due = due
        connection.socket.send(self._requests[self.tally.sent % len(self._requests)])
        self.tally.sent += 1

    def receive(self, timeout: float) -> None:
        for number, _ in self._poll.poll(timeout):
            connection = self._connections[number]
            try:
                data = connection.received + connection.socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data or data == connection.received:
                self._replace(number)
            elif not _is_whole(data):
                connection.received = data
            else:
                self.tally.add(data, time.perf_counter() - connection.due)
                connection.received = b""
                self._idle.append(connection)

    def _replace(self, number: int) -> None:
        self.tally.broken += 1
        self._connections.pop(number).socket.close()
        self._connect()

    def open_loop(self, rate: float, seconds: float) -> None:
        rng = random.Random(0)  # noqa: S311
        start = due = time.perf_counter()
        end = start + seconds
        while due < end:
            now = time.perf_counter()
            self.tally.latest_send_s = max(self.tally.latest_send_s, now - due)
            while due <= now and due < end:
                self.send(due)
                due += rng.expovariate(rate)
            self.receive(max(0.0, min(due, end) - time.perf_counter()))
        self._collect()

    def closed_loop(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            while self._idle:
                self.send(now)
            self.receive(0.1)
        self._collect()

    def _collect(self) -> None:
        end = time.perf_counter() + LAST_ANSWERS_S
        while len(self._idle) < len(self._connections) and time.perf_counter() < end:
            self.receive(0.1)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Of values in ascending order, by nearest rank."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _is_whole(data: bytes) -> bool:
    head = data.find(b"\r\n\r\n")
    length = LENGTH.search(data, 0, head) if head >= 0 else None
    return length is not None and len(data) >= head + 4 + int(length[1])


def main() -> None:
    asked = json.loads(sys.argv[1])
    head = f"POST {asked['path']} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {asked['content_type']}\r\n"
    bodies = [Path(name).read_bytes() for name in asked["bodies"]]
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
    client = _Client(asked["port"], asked["connections"], requests)
    seconds = asked["seconds"]
    if asked["rate"]:
        client.open_loop(asked["rate"], seconds)
    else:
        client.closed_loop(seconds)
    print(json.dumps(client.tally.summary(seconds)))


if __name__ == "__main__":
    main()
