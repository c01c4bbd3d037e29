"""Uvicorn's protocol with a short cut: small requests to the hot routes are answered without ASGI in between.

Everything else, and all that is unusual about a request, takes uvicorn's own way. Order under pipelining is uvicorn's,
too: to it a short-cut request is a cycle like any other. Bounds that uvicorn has not: the size of a request's head, and
how slowly a request may arrive.
"""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.problems import problem_reply
from service.api.reply import Handler, Inbound, Reply, new_id

UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
HEAD_BYTES = 65_536
SLOWEST_BYTES_PER_S = 1024
REFUSED_PAUSE_S = 1.0  # the least that Retry-After says
SHORT_CUT_BYTES = 65_536  # larger bodies are streamed, with their limits, by uvicorn and `bodies.receive`


class _Cycle:
    """What uvicorn's protocol asks of the request in progress."""

    request: Inbound

    __slots__ = ("body", "disconnected", "handler", "keep_alive", "message_event", "request", "response_complete")

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.body = b""
        self.keep_alive = True  # uvicorn clears it when it shuts down
        self.disconnected = False
        self.response_complete = False
        self.message_event = _NOBODY_WAITS


async def _receive_nothing() -> dict[str, Any]:
    raise AssertionError("a short-cut request has its whole body before its handler runs")


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
    _messages = 0
    _since = 0.0  # when it was begun to read, or answered
    _arrived = 0  # bytes since the last look
    _chunk = 0  # bytes of what is being parsed
    _look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self._look_later()

    def data_received(self, data: bytes) -> None:
        self._arrived += len(data)
        self._chunk = len(data)
        # At the start of a request; lower case costs a tenth of what the pattern does.
        at_start = not (self._reading and self._messages)
        if at_start and b"\r\nupgrade:" in data[: data.find(b"\r\n\r\n") + 1 or None].lower():
            # The parser would take the body for the other protocol's. We speak none, so there is no upgrade to ask for.
            head, blank, rest = data.partition(b"\r\n\r\n")
            data = UPGRADE.sub(b"\r\nx-ignored:", head + blank) + rest
        in_head, messages = self._in_head, self._messages
        super().data_received(data)
        if in_head and self._in_head and messages == self._messages:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse("head_too_large", f"The head of a request may have {HEAD_BYTES} bytes.")

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._reading = self._in_head = True
        self._head_bytes = 0
        self._messages += 1
        self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:  # trailers of a chunked body are nothing that we read
            return
        name = name.lower()  # as uvicorn's own, without a second call for each header
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._short = self._short_cut()
        if self._short is not None:
            self.cycle = self._short  # type: ignore[assignment]
            return
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the ASGI scope, which the short cut does without, and forgets the rest
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._short is None:
            super().on_body(body)
        else:
            self._short.body += body

    def on_message_complete(self) -> None:
        self._reading = False
        cycle, self._short = self._short, None
        if cycle is None:
            super().on_message_complete()
            return
        cycle.request.body = cycle.body
        if (refusal := self.app.edge.admit(cycle.request)) is not None:
            self._write(refusal, cycle)
            # Who asks again at once after a refusal is not even read for a while: refusing costs, too.
            self.flow.pause_reading()
            self.loop.call_later(REFUSED_PAUSE_S, self._read_again)
        else:
            self._task = self.loop.create_task(self._answer(cycle))
            self.tasks.add(self._task)
            self._task.add_done_callback(self._answered)

    def on_response_complete(self) -> None:
        # Uvicorn's, but for its keep-alive timer: making and cancelling one for every request costs 3 us.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._since = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()  # nobody is left to read the answer: its place in the queue is free again
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._arrived = 0
        self._look = self.loop.call_later(self._look_every_s, self._look_at_pace)

    @property
    def _look_every_s(self) -> float:
        return min(float(self.timeout_keep_alive), float(self.app.settings.request_timeout_s))

    def _look_at_pace(self) -> None:
        """Once in a while for a connection: close what idles too long, and who sends too slowly for too long."""
        waited_s = self.loop.time() - self._since
        slow = self._arrived < SLOWEST_BYTES_PER_S * self._look_every_s
        if self._reading and slow and waited_s >= self.app.settings.request_timeout_s:
            self._refuse("too_slow", f"The request came slower than {SLOWEST_BYTES_PER_S} bytes a second.")
        elif not self._reading and waited_s >= self.timeout_keep_alive and self._is_idle():
            self.transport.close()
        else:
            self._look_later()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        self._refuse("malformed_request", f"What came is not an HTTP request. {msg}")

    def _refuse(self, code: str, detail: str) -> None:
        """Hang up on a sender; in words, where it sent something and no other answer can be under way."""
        if self._is_idle() and self._messages and not self.transport.is_closing():
            request_id = new_id()
            reply = problem_reply(code, detail, request_id)
            head = STATUS_LINE[reply.status] + reply.head(request_id)
            self.transport.write(head + b"connection: close\r\n\r\n" + reply.body)
        self.transport.close()

    def _short_cut(self) -> _Cycle | None:
        parser = self.parser
        if not self._is_idle() or self.expect_100_continue:
            return None
        if parser.get_method() != b"POST" or not parser.should_keep_alive() or parser.should_upgrade():
            return None
        path, _, query = self.url.partition(b"?")
        handler = self.app.edge.hot.get(path)
        if handler is None:
            return None
        cycle = _Cycle(handler)
        cycle.request = request = Inbound("POST", path, query, self.headers, _receive_nothing)
        length = request.headers.get(b"content-length", b"")
        # A body that came with its head is in memory already, whichever way it takes.
        return cycle if length.isdigit() and int(length) <= max(SHORT_CUT_BYTES, self._chunk) else None

    def _answered(self, task: asyncio.Task[None]) -> None:
        # Here, not in the task: one that is cancelled before its first step runs none of its code.
        self.tasks.discard(task)
        self.app.edge.leave()

    def _read_again(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    async def _answer(self, cycle: _Cycle) -> None:
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
            self._write(reply, cycle)

    def _write(self, reply: Reply, cycle: _Cycle) -> None:
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        start = _first_lines(reply.status, tuple(self.server_state.default_headers))
        self.transport.write(b"".join((start, reply.head(cycle.request.id), end, reply.body)))
        cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()


@lru_cache(maxsize=32)
def _first_lines(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The status line and the headers of every answer, which change once a second."""
    return STATUS_LINE[status] + b"".join([b"%b: %b\r\n" % header for header in headers])
