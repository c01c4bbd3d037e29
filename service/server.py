"""Runs the application under uvicorn: one-line start-up errors, a drain after SIGTERM, exit code 0."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path
from types import FrameType

import structlog
import uvicorn

from service.app import DigitService, create_app
from service.settings import Settings, unknown_variables

EXAMPLE = Path(__file__).with_name("examples") / "seven.png"
log = structlog.stdlib.get_logger(__name__)


class Server(uvicorn.Server):
    """Uvicorn that is not ready for `drain_delay_s` before it closes its port."""

    def __init__(self, config: uvicorn.Config, app: DigitService, settings: Settings) -> None:
        super().__init__(config)
        self._app = app
        self._settings = settings

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(greeting(self._app, self._settings.host, self._bound_port()), flush=True)

    def _bound_port(self) -> int:
        return int(self.servers[0].sockets[0].getsockname()[1])

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        delay = self._settings.drain_delay_s
        if self._app.draining or not delay or sig != signal.SIGTERM:
            super().handle_exit(sig, frame)
            return
        self._app.draining = True
        log.info("draining", seconds=delay)
        asyncio.get_running_loop().call_later(delay, super().handle_exit, sig, frame)


def greeting(app: DigitService, host: str, port: int) -> str:
    """The address, and a line to try that works as it stands."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    names = ", ".join(app.repository.model_names())
    return (
        f"Serving {names} on http://{shown}:{port} (API: http://{shown}:{port}/docs)\n"
        f"Try: curl -F file=@{EXAMPLE} http://{shown}:{port}/predict"
    )


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        StartupError: the models cannot be served with these settings.
    """
    for name in unknown_variables():
        log.warning("unknown setting, see docs/settings.md", variable=name)
    app = create_app(settings)
    app.repository.load()  # before uvicorn, which would wrap what goes wrong here in a page of traceback
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.request_timeout_s) + 1,
    )
    server = Server(config, app, settings)
    # Uvicorn raises the signal again once it has stopped; a clean stop should exit with 0, not die of the signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run()
