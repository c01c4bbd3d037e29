"""Uvicorn's protocol with the bounds that it has not: the size of a request's head, and how slowly one may arrive."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

from httptools import HttpParserCallbackError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.api.problems import problem_reply
from service.api.reply import Inbound, receive_nothing

UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
HEAD_BYTES = 65_536
SLOWEST_BYTES_PER_S = 1024
LAST_REQUEST_S = 0.25  # for a request that is on its way while we stop: HTTP/1.1 cannot tell who idles (RFC 9112, 9.5)


class BoundedProtocol(HttpToolsProtocol):
    """`config.loaded_app` must be the `DigitService` itself, so no middleware around it."""

    _reading = True  # a request, or the first one, is awaited and not whole
    _in_head = False
    _head_bytes = 0
    _messages = 0
    _chunk = b""  # what is being parsed
    _earlier: Any = None  # the cycle of the request before the one that is being received
    _since = 0.0  # when it was begun to read, or answered
    _arrived = 0  # bytes since the last look
    _look: asyncio.TimerHandle | None = None
    _stopping = False  # each answer is the last of its connection, and says so

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._arrived += len(data)
        self._chunk = data
        # Where a request begins; lower case costs a tenth of what the pattern does.
        if self._is_between() and b"\r\nupgrade:" in data[: data.find(b"\r\n\r\n") + 1 or None].lower():
            # The parser would take the body for the other protocol's. We speak none, so there is no upgrade to ask for.
            head, blank, rest = data.partition(b"\r\n\r\n")
            data = UPGRADE.sub(b"\r\nx-ignored:", head + blank) + rest
        size = self._head_size(data)
        if size > HEAD_BYTES:
            if self._is_between():  # the parser has not seen it
                self.on_message_begin()
            detail = f"The head of a request may have {HEAD_BYTES} bytes. Send fewer headers, or shorter ones."
            self._refuse("head_too_large", detail)
        else:
            super().data_received(data)
            if self._in_head:
                self._head_bytes = size
        self._chunk = b""

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._reading = self._in_head = True
        self._messages += 1
        self._earlier = self.cycle
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
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()  # makes the ASGI scope, and forgets the rest
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        super().on_headers_complete()
        if self._stopping:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._reading = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        # Uvicorn's, but for its keep-alive timer: making and cancelling one for every request costs 3 us.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._since = self.loop.time()
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def send_400_response(self, msg: str) -> None:
        error = sys.exc_info()[1]  # uvicorn calls this where it caught the parser's
        told = "Invalid address" if isinstance(error, HttpParserCallbackError) else error or msg
        self._refuse("malformed_request", f"What came is not HTTP/1.1 that can be read: {told}.")

    def shutdown(self) -> None:
        """Close once what came, or comes in a moment, is answered; uvicorn's hangs up on who is not being answered."""
        self._stopping = True
        if self._is_idle():
            self.loop.call_later(LAST_REQUEST_S, self._close_unless_asked)
        else:
            super().shutdown()

    def _close_unless_asked(self) -> None:
        if self._is_idle() and (self._is_between() or self._in_head):
            self.transport.close()

    def _head_size(self, data: bytes) -> int:
        """Of the head that is being received, once `data` is read; of one that begins behind a body, 0 for now."""
        if not (self._in_head or self._is_between()):
            return 0
        end = data.find(b"\r\n\r\n")
        return (self._head_bytes if self._in_head else 0) + (len(data) if end < 0 else end)

    def _is_between(self) -> bool:
        """Whether the next byte begins a request."""
        return not (self._reading and self._messages)

    def _is_idle(self) -> bool:
        """Whether no answer is under way."""
        return self.cycle is None or self.cycle.response_complete

    def _has_begun(self) -> bool:
        """Whether the application has the request whose body is being received."""
        return self._reading and not self._in_head and self.cycle is not self._earlier

    def _may_speak(self) -> bool:
        """Whether an answer now would be taken for that of what is being received."""
        if self._has_begun():
            return not (self.pipeline or self.cycle.response_started)
        return self._is_idle()

    def _look_later(self) -> None:
        self._arrived = 0
        self._look = self.loop.call_later(self._look_every_s, self._look_at_pace)

    @property
    def _look_every_s(self) -> float:
        return min(float(self.timeout_keep_alive), float(self._request_timeout_s))

    @property
    def _request_timeout_s(self) -> Any:
        return self.app.settings.request_timeout_s

    def _look_at_pace(self) -> None:
        """Once in a while for a connection: close what idles too long, and who sends too slowly for too long."""
        waited_s = self.loop.time() - self._since
        slow = self._arrived < SLOWEST_BYTES_PER_S * self._look_every_s
        if self._reading and slow and waited_s >= self._request_timeout_s:
            detail = f"The request came slower than {SLOWEST_BYTES_PER_S} bytes a second. Send it again, and faster."
            self._refuse("too_slow", detail)
        elif not self._reading and waited_s >= self.timeout_keep_alive and self._is_idle():
            self.transport.close()
        else:
            self._look_later()

    def _refuse(self, code: str, detail: str) -> None:
        """Hang up on a sender; in words, where it sent something and no other answer can be under way."""
        if self._may_speak() and self._messages and not self.transport.is_closing():
            request = self._inbound()
            reply = problem_reply(code, detail, request.id, path=request.raw_path)
            if self._has_begun():
                request.refusal = reply  # its handler ends it, once it hears that the client is gone
            else:
                self.app.edge.refuse(request, reply)
            head = STATUS_LINE[reply.status] + reply.head(request.id)
            self.transport.write(head + b"connection: close\r\n\r\n" + reply.body)
        self.transport.close()

    def _inbound(self) -> Inbound:
        """What is known of the request that is being received."""
        scope: Any = self.cycle.scope if self._has_begun() else {}
        if "inbound" in scope:
            inbound: Inbound = scope["inbound"]
            return inbound
        if not self._reading:
            return Inbound("", b"", b"", {}, receive_nothing)
        method, target = self.parser.get_method(), self.url
        if not target:  # what was not parsed stands in its first line, if anywhere
            method, target = (*self._chunk.split(b" ", 2), b"", b"")[:2]
        path, _, query = target.partition(b"?")
        return Inbound(method.decode("latin-1"), path, query, dict(self.headers), receive_nothing)
