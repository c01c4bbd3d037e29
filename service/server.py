"""Runs the application under uvicorn, in one process or in several under its supervisor.

A start that fails ends everything with a code other than 0: a service that cannot answer must not stay up.
"""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from service.app import create_app, worker_count
from service.errors import StartupError
from service.hot_protocol import HotProtocol
from service.inference.board import FOLDER_VARIABLE, Board
from service.inference.runtime import check_device
from service.logs import configure_logs
from service.settings import Settings, unknown_variables

EXAMPLE = Path(__file__).with_name("examples") / "seven.png"
BACKLOG = 2048  # as uvicorn's
WORKER_START_S = 60  # a worker that is not up after this is started anew by the supervisor
log = structlog.stdlib.get_logger(__name__)


class _Config(uvicorn.Config):
    """Uvicorn's configuration, with our logs in every process that it configures."""

    def __init__(self, app: Any, settings: Settings, **options: Any) -> None:
        self.settings = settings
        super().__init__(
            app,
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http=HotProtocol,
            proxy_headers=False,  # nobody here asks for the client's address, and each layer costs
            ws="none",
            lifespan="on",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(settings.request_timeout_s) + 1,
            **options,
        )

    def configure_logging(self) -> None:
        configure_logs(self.settings.log_level, self.settings.log_format)
        access = logging.getLogger("uvicorn.access")  # ours is written at the edge
        access.handlers, access.propagate = [], False


class _Server(uvicorn.Server):
    """The only process: it greets once it listens."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            _greet(self.config, (sockets or [])[0].getsockname()[1], self.config.loaded_app.reloader.board)


class _Supervisor(Multiprocess):
    """The parent of several workers: it greets once the first of them answers."""

    def init_processes(self) -> None:
        super().init_processes()
        if self.processes[0].wait_until_ready(WORKER_START_S, self.should_exit):
            _greet(self.config, self.sockets[0].getsockname()[1], Board.of_the_workers())

    def handle_hup(self) -> None:
        # Uvicorn's starts all workers anew; they need only look at the repository.
        Board.of_the_workers().change()

    def terminate_all(self) -> None:
        # Else who connects while the workers finish would be taken by the kernel for nobody.
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartupError: the models cannot be served with these settings.
    """
    configure_logs(settings.log_level, settings.log_format)
    for name in unknown_variables():
        log.warning("unknown setting, see docs/settings.md", variable=name)
    app = create_app(settings)
    check_device(settings.device)
    listening = _listen(settings)
    workers = worker_count(settings)
    if workers == 1:
        app.reloader.load()  # before uvicorn, which would log what goes wrong here and not raise it
        # Uvicorn raises the signal again once it has stopped; a clean stop should exit with 0, not die of the signal.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        _Server(_Config(app, settings)).run([listening])
        return
    app.repository.check()  # what can be told without loading is told here; loading is for the workers
    # Each of them reads the settings again, from the environment that it inherits.
    config = _Config("service.app:create_app", settings, factory=True, workers=workers)
    with _shared_folder() as shared:
        os.environ[FOLDER_VARIABLE] = shared
        supervisor = _Supervisor(config, [listening])
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise StartupError("A worker could not start; the log above says why.")


def _shared_folder() -> tempfile.TemporaryDirectory[str]:
    """Where the workers tell each other what they count and follow. Raises `StartupError`."""
    try:
        return tempfile.TemporaryDirectory(prefix="digits-")
    except OSError as error:
        raise StartupError(
            f"Several workers need a temporary folder to share, and there is none: {error}. "
            "Set TMPDIR to a folder that can be written, or DIGITS_WORKERS=1."
        ) from None


def _listen(settings: Settings) -> socket.socket:
    """A socket on the address of the settings, for all workers. Raises `StartupError`."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
        listening.set_inheritable(True)
    except (OSError, UnicodeError) as error:  # names that are none, such as "a..b", are the codec's
        raise StartupError(
            f"Cannot listen on DIGITS_HOST={settings.host} DIGITS_PORT={settings.port}: "
            f"{getattr(error, 'strerror', 'not a name')}. {_mended(error)}"
        ) from None
    return listening


def _mended(error: OSError | UnicodeError) -> str:
    """What would make an address one to listen on."""
    if isinstance(error, PermissionError):
        return "Ports below 1024 are the system's: choose a higher one."
    if isinstance(error, (socket.gaierror, UnicodeError)) or error.errno == errno.EADDRNOTAVAIL:
        return "Expected an address or a name of this machine: 127.0.0.1 for itself alone, 0.0.0.0 for everybody."
    return "Stop what uses the port, or choose another."


def _greet(config: uvicorn.Config, port: int, board: Board) -> None:
    """Print what answers at which address, and a line to try that works as it stands."""
    assert isinstance(config, _Config)
    settings = config.settings
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    names = ", ".join(sorted(board.answering()))
    print(f"Serving {names} on {url} (API: {url}/docs)\nTry: curl -F file=@{EXAMPLE} {url}/predict", flush=True)
