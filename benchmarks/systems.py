"""The systems that are compared: how each is started, and how each is asked for a digit."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.loads import wait_for_first_answer
from benchmarks.networks import newest
from benchmarks.pictures import Pixels, Request, form, png
from benchmarks.processes import Server, free_port

SERVICE, TUTORIAL, MOSEC, ECHO = "digit-service", "tutorial", "mosec", "echo"
PICTURES = 20  # different ones that each load sends in turn


def is_installed(system: str) -> bool:
    return system != MOSEC or importlib.util.find_spec("mosec") is not None


def single(system: str, model: str, pictures: list[Pixels], *, multipart: bool = False) -> Request:
    """One picture a request. The tutorial takes forms alone; only the service has several models."""
    files = [png(pixels) for pixels in pictures]
    path = f"/predict?model={model}" if system == SERVICE else "/predict"
    if not multipart and system != TUTORIAL:
        return Request(path, "image/png", tuple(files))
    forms = [form("file", [file]) for file in files]
    return Request(path, forms[0][0], tuple(body for _, body in forms))


def batch(system: str, model: str, pictures: list[Pixels]) -> Request:
    """All pictures in one request."""
    content_type, body = form("files", [png(pixels) for pixels in pictures])
    path = f"/predict/batch?model={model}" if system == SERVICE else "/predict/batch"
    return Request(path, content_type, (body,), len(pictures))


def tensor(model: str, pictures: list[Pixels]) -> Request:
    """All pictures as raw bytes behind a head of JSON; the probabilities come back the same way."""
    raw = b"".join(picture.tobytes() for picture in pictures)
    asked = {
        "inputs": [
            {
                "name": "image",
                "shape": [len(pictures), 28, 28],
                "datatype": "UINT8",
                "parameters": {"binary_data_size": len(raw)},
            }
        ],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
    }
    head = json.dumps(asked).encode()
    path = f"/v2/models/{model}/infer"
    return Request(path, "application/octet-stream", (head + raw,), len(pictures), json_bytes=len(head))


def start(
    system: str,
    model: str,
    repository: Path,
    *,
    cpus: Iterable[int],
    log: Path,
    environment: Mapping[str, str],
) -> Server:
    """The system's process, which may not listen yet (`wait_for_first_answer`). `environment` is the service's."""
    port = free_port()
    uvicorn = [sys.executable, "-m", "uvicorn", "--port", str(port)]
    commands = {
        SERVICE: [sys.executable, "-m", "service", "serve"],
        TUTORIAL: [*uvicorn, "benchmarks.peers.tutorial:app"],
        ECHO: [*uvicorn, "--no-access-log", "benchmarks.peers.echo:app"],
        MOSEC: [sys.executable, "benchmarks/peers/mosec_app.py", "--address", "127.0.0.1", "--port", str(port)],
    }
    settings = {"DIGITS_PORT": str(port), "DIGITS_MODEL_REPOSITORY": str(repository), "DIGITS_WORKERS": "1"}
    peers = {"MODEL": str(newest(repository, model))}
    own = {**settings, **environment} if system == SERVICE else peers
    return Server(commands[system], port, cpus=cpus, log=log, environment=own)


@dataclass
class Fleet:
    """Servers that run side by side on the same CPUs and are loaded in turn; each is started when first asked for."""

    repository: Path
    logs: Path
    cpus: set[int]
    pictures: list[Pixels]
    environment: Mapping[str, str] = field(default_factory=dict)  # the service's, on top
    _running: dict[tuple[str, str], Server] = field(default_factory=dict)

    def server(self, system: str, model: str) -> Server:
        """The system with this model; the service has all of them, and the echo none."""
        key = system, model if system in (TUTORIAL, MOSEC) else ""
        if key not in self._running:
            log = self.logs / f"{'-'.join(key)}.log"
            server = start(system, model, self.repository, cpus=self.cpus, log=log, environment=self.environment)
            self._running[key] = server
            wait_for_first_answer(server, single(system, model, self.pictures))
        return self._running[key]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._running.values():
            server.stop()
