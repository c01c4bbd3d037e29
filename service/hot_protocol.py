"""A short cut: small requests to the hot routes are answered within the protocol, without ASGI in between.

Everything else, and all that is unusual about a request, takes uvicorn's own way. Order under pipelining is uvicorn's,
too: to it a short-cut request is a cycle like any other.
"""

from __future__ import annotations

import asyncio
from functools import partial

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from service.api.heads import BLANK, Head, KnownHeads
from service.api.reply import Inbound, Leave, Reply, receive_nothing
from service.bounded_protocol import BoundedProtocol
from service.errors import Overloaded

REFUSED_PAUSE_S = 0.8  # less than Retry-After says at least: who asks again at once is still answered within it
SMALL_BYTES = 65_536  # larger bodies must find room in the budget, or they are streamed, and refused in words
SHORT_CUT_BYTES = 262_144  # what is larger still is streamed, with its limits, by uvicorn and `bodies.receive`


class _NoEvent:
    def set(self) -> None:
        """Nobody waits for the body of a short-cut request: it is whole before its handler runs."""


class _Cycle(Inbound):
    """A short-cut request, with what uvicorn's protocol asks of the request in progress."""

    __slots__ = ("disconnected", "hot", "keep_alive", "response_complete")
    message_event = _NoEvent()

    def __init__(self, head: Head) -> None:
        super().__init__("POST", head.path, head.query, head.headers, receive_nothing)
        self.hot = head.hot
        self.keep_alive = True  # cleared when it shuts down
        self.disconnected = False
        self.response_complete = False


class HotProtocol(BoundedProtocol):
    """Of a connection at most one request takes the short cut at a time."""

    _head: Head | None = None  # of the request that is being received, if it takes the short cut
    _body: list[bytes]  # what came of it
    _held = 0  # bytes of the budget that it has
    _chunk_begins = False  # whether a request begins with it
    _task: asyncio.Task[None] | None = None  # who answers the short-cut request: a coroutine,
    _leave: Leave | None = None  # or the network, when it has run: ends the wait
    _default_headers: list[tuple[bytes, bytes]] | None = None  # of every answer, and how they are written
    _default_lines = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._known: KnownHeads = self.app.edge.known_heads

    def data_received(self, data: bytes) -> None:
        self._chunk_begins = self._is_between()
        if self._chunk_begins and self._is_idle():
            end = data.find(BLANK) + len(BLANK)
            head = self._known.get(data[:end])
            if head is not None and end + head.length == len(data):
                self._arrived += len(data)
                self._messages += 1
                self._reading = False
                self._begin(head, data[end:])
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = None

    def on_headers_complete(self) -> None:
        head = self._head = self._short_cut()
        if head is None:
            super().on_headers_complete()
        else:
            self._in_head = False
            self._body = []

    def on_body(self, body: bytes) -> None:
        if self._head is None:
            super().on_body(body)
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        head = self._head
        if head is None:
            super().on_message_complete()
            return
        self._reading = False
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        if self._chunk_begins:
            self._known.learn(self._chunk, head, body)
        held, self._held = self._held, 0
        self._head, self._body = None, []
        self._begin(head, body, held)

    def connection_lost(self, exc: Exception | None) -> None:
        # Nobody is left to read the answer: its place in the queue is free again.
        if self._task is not None:
            self._task.cancel()
        if self._leave is not None:
            self._leave()
            self._leave = None
            self.app.edge.leave()
            self.app.edge.unheard(self.cycle)
        if self._head is not None:  # of a body that never was whole
            self.app.edge.unheard(_Cycle(self._head))
            self._head = None
        self.app.budget.give_back(self._held)
        self._held = 0
        super().connection_lost(exc)

    def _refuse(self, code: str, detail: str) -> None:
        self._head = None  # its request ends here
        super()._refuse(code, detail)

    def _short_cut(self) -> Head | None:
        parser = self.parser
        if not self._is_idle() or self.expect_100_continue:
            return None
        if parser.get_method() != b"POST" or not parser.should_keep_alive() or parser.should_upgrade():
            return None
        path, _, query = self.url.partition(b"?")
        hot = self.app.edge.hot.get(path)
        if hot is None:
            return None
        headers = dict(self.headers)
        length = headers.get(b"content-length", b"")
        if not length.isdigit() or not self._has_room(int(length)):
            return None
        return Head(path, query, headers, hot, int(length))

    def _has_room(self, length: int) -> bool:
        # A body that came with its head is in memory already, whichever way it takes.
        if length <= max(SMALL_BYTES, len(self._chunk)):
            return True
        if length > min(SHORT_CUT_BYTES, self.app.settings.max_body_bytes):
            return False
        try:
            self.app.budget.take(length)
        except Overloaded:
            return False
        self._held = length
        return True

    def _begin(self, head: Head, body: bytes, held: int = 0) -> None:
        cycle = _Cycle(head)
        cycle.body = body
        cycle.keep_alive = not self._stopping
        self.cycle = cycle  # type: ignore[assignment]
        edge = self.app.edge
        if (refusal := edge.admit(cycle)) is not None:
            self.app.budget.give_back(held)
            self._write(refusal, cycle)
            if self._stopping:
                return
            # Who asks again at once after a refusal is not even read for a while: refusing costs, too.
            self.flow.pause_reading()
            self.loop.call_later(REFUSED_PAUSE_S, self._read_again)
            return
        # Who does not read the answers must be waited for, or they would pile up.
        leave = False if self.flow.write_paused else edge.answer_at_once(cycle, head.hot, partial(self._end, cycle))
        if callable(leave):
            self._leave = leave
        elif not leave:
            self._task = self.loop.create_task(self._answer(cycle))
            self.tasks.add(self._task)
            self._task.add_done_callback(partial(self._answered, held))

    def _end(self, cycle: _Cycle, reply: Reply) -> None:
        self._leave = None
        self.app.edge.leave()
        self._write(reply, cycle)

    def _answered(self, held: int, task: asyncio.Task[None]) -> None:
        # Here, not in the task: one that is cancelled before its first step runs none of its code.
        self.tasks.discard(task)
        self.app.budget.give_back(held)
        self.app.edge.leave()

    def _read_again(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    async def _answer(self, cycle: _Cycle) -> None:
        try:
            reply = await self.app.edge.respond(cycle, cycle.hot.handler)
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
        if self._default_headers is not (headers := self.server_state.default_headers):  # once a second
            self._default_headers, self._default_lines = headers, b"".join([b"%b: %b\r\n" % one for one in headers])
        end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(
            b"".join((STATUS_LINE[reply.status], self._default_lines, reply.head(cycle.id), end, reply.body))
        )
        cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()
