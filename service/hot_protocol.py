"""Uvicorn's protocol with a short cut: small requests to the hot routes are answered without ASGI in between.

Everything else, and all that is unusual about a request, takes uvicorn's own way. Order under pipelining is uvicorn's,
too: to it a short-cut request is a cycle like any other. Bounds that uvicorn has not: the size of a request's head, and
how slowly a request may arrive.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.reply import Handler, Inbound, Reply

HEAD_BYTES = 65_536
SLOWEST_BYTES_PER_S = 1024
SHORT_CUT_BYTES = 65_536  # larger bodies are streamed, with their limits, by uvicorn and `bodies.receive`


class _Cycle:
    """What uvicorn's protocol asks of the request in progress."""

    __slots__ = ("body", "disconnected", "handler", "keep_alive", "message_event", "request", "response_complete")

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.request: Inbound | None = None
        self.body = b""
        self.keep_alive = True  # uvicorn clears it when it shuts down
        self.disconnected = False
        self.response_complete = False
        self.message_event = _NOBODY_WAITS

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self.body, "more_body": False}


class _NoEvent:
    def set(self) -> None:
        """Nobody waits for the body of a short-cut request: it is whole before its handler runs."""


_NOBODY_WAITS = _NoEvent()


class HotProtocol(HttpToolsProtocol):
    """`config.loaded_app` must be the `DigitService` itself, so no middleware around it."""

    _short: _Cycle | None = None  # the request that is being received, if it takes the short cut
    _task: asyncio.Task[None] | None = None  # the short-cut request that is being answered
    _reading = True  # a request, or the first one, is awaited and not whole
    _in_head = False
    _head_bytes = 0
    _arrived = 0  # bytes since the last look at the pace
    _pace: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_pace()

    def data_received(self, data: bytes) -> None:
        self._arrived += len(data)
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(431)
        if self._reading and self._pace is None:
            self._watch_pace()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._reading = self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._short = self._short_cut()
        if self._short is None:
            super().on_headers_complete()
        else:
            self.cycle = self._short  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        if self._short is None:
            super().on_body(body)
        else:
            self._short.body += body

    def on_message_complete(self) -> None:
        self._reading = False
        if self._short is None:
            super().on_message_complete()
            return
        self._task = self.loop.create_task(self._answer(self._short))
        self.tasks.add(self._task)
        self._task.add_done_callback(self.tasks.discard)
        self._short = None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()  # nobody is left to read the answer: its place in the queue is free again
        if self._pace is not None:
            self._pace.cancel()
        super().connection_lost(exc)

    def _watch_pace(self) -> None:
        self._arrived = 0
        self._pace = self.loop.call_later(self.app.settings.request_timeout_s, self._check_pace)

    def _check_pace(self) -> None:
        self._pace = None
        if not self._reading or self.transport.is_closing():
            return
        if self._arrived < SLOWEST_BYTES_PER_S * self.app.settings.request_timeout_s:
            self._refuse(408)
        else:
            self._watch_pace()

    def _refuse(self, status: int) -> None:
        """Hang up on a sender; in words, where no other answer can be under way."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _short_cut(self) -> _Cycle | None:
        parser = self.parser
        if (self.cycle is not None and not self.cycle.response_complete) or self.expect_100_continue:
            return None
        if parser.get_method() != b"POST" or not parser.should_keep_alive() or parser.should_upgrade():
            return None
        path, _, query = self.url.partition(b"?")
        handler = self.app.edge.hot.get(path)
        if handler is None:
            return None
        cycle = _Cycle(handler)
        cycle.request = request = Inbound("POST", path, query, self.headers, cycle.receive)
        length = request.headers.get(b"content-length", b"")
        return cycle if length.isdigit() and int(length) <= SHORT_CUT_BYTES else None

    async def _answer(self, cycle: _Cycle) -> None:
        assert cycle.request is not None
        try:
            reply = await self.app.edge.respond(cycle.request, cycle.handler)
            if self.flow.write_paused and not cycle.disconnected:
                await self.flow.drain()
        except asyncio.CancelledError:
            self.transport.close()
            raise
        finally:
            self._task = None
        if reply is not None and not cycle.disconnected:
            self._write(reply, cycle, cycle.request.id)

    def _write(self, reply: Reply, cycle: _Cycle, request_id: str) -> None:
        head = [STATUS_LINE[reply.status]]
        for name, value in (*self.server_state.default_headers, *reply.headers(request_id)):
            head += (name, b": ", value, b"\r\n")
        head.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        head.append(reply.body)
        self.transport.write(b"".join(head))
        cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
