"""Structured logs on standard error: text on a terminal, one JSON object a line elsewhere.

Access lines are written by `AccessLog` without the logging machinery: at thousands of requests a second its cost shows.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Mapping, MutableMapping
from typing import Any, Literal

import msgspec
import structlog

FIRST_FAILURE = 400
FLUSH_S = 0.1
Format = Literal["auto", "json", "console"]


def wants_json(log_format: Format) -> bool:
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def configure_logs(level: str, log_format: Format) -> None:
    """Send our own and the libraries' log records through one formatter to standard error."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if wants_json(log_format):
        last: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dump)]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _drop_colour_message, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _dump(event: dict[str, Any], **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()


def _drop_colour_message(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    # Uvicorn sends every message twice, once with terminal colours.
    event.pop("color_message", None)
    return event


class _AccessLine(msgspec.Struct, gc=False):
    timestamp: str
    method: str
    path: str
    status: int
    duration_ms: float
    request_id: str
    server_timing: str
    level: str = "info"
    event: str = "request"

    def as_text(self) -> str:
        when, took = self.timestamp[11:19], f"{self.duration_ms:.2f} ms"
        return f"{when} {self.method} {self.path} {self.status} {took} {self.server_timing} [{self.request_id}]\n"


class AccessLog:
    """Writes one line a request: each failure, and every `every`-th that was answered well.

    Lines leave together, at most `FLUSH_S` after the first of them: a write for each costs more than all else here.
    """

    def __init__(self, *, enabled: bool, log_format: Format, every: int = 1) -> None:
        self.enabled = enabled
        self._every = every
        self._answered = 0
        self._json = wants_json(log_format)
        self._encoder = msgspec.json.Encoder()
        self._lines: list[_AccessLine] = []
        self._second = 0
        self._timestamp = ""

    def write(self, method: str, path: str, status: int, duration_ms: float, request_id: str, timings: str) -> None:
        """Call on the event loop. `timings` is the Server-Timing header; empty where nothing was predicted."""
        if not self.enabled:
            return
        if status < FIRST_FAILURE:
            self._answered += 1
            if self._answered % self._every:
                return
        if (second := int(time.time())) != self._second:
            self._second = second
            self._timestamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        self._lines.append(
            _AccessLine(self._timestamp, method, path, status, round(duration_ms, 3), request_id, timings)
        )

    def flush(self) -> None:
        """Write what is waiting."""
        if self._lines:
            if self._json:
                text = self._encoder.encode_lines(self._lines).decode()
            else:
                text = "".join([line.as_text() for line in self._lines])
            sys.stderr.write(text)
            sys.stderr.flush()
            self._lines.clear()
