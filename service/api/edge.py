"""The outermost layer, once for every route: request id, key, errors to problems, headers, access line.

The hot routes are answered from here without the framework: it costs several times what they do (docs/log.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from service.api.bodies import CLIENT_CLOSED_REQUEST, Disconnected
from service.api.heads import KnownHeads
from service.api.keys import Keys
from service.api.problems import reply_to
from service.api.reply import Handler, Hot, Inbound, Leave, Receive, Reply, Scope, Send, raised
from service.api.sending import Stamped, send_reply, without_body
from service.errors import Overloaded
from service.logs import AccessLog
from service.metrics import Metrics
from service.tracing import TRACEPARENT, Tracing, stages

PACE_ANSWERS = 256  # between two looks at the clock
NO_ROUTE = "none"


class Edge:
    """An ASGI application around `app`. `hot` maps the paths of POST requests to handlers that answer without it."""

    def __init__(
        self,
        app: Any,
        hot: Mapping[bytes, Hot],
        *,
        keys: Keys,
        open_paths: frozenset[bytes],
        access_log: AccessLog,
        max_requests: int,
        metrics: Metrics,
        tracing: Tracing | None = None,
    ) -> None:
        self._app = app
        self.hot = hot
        self.known_heads = KnownHeads()
        self.routes = {path: path.decode() for path in hot}  # what the metrics call them
        self._metrics = metrics
        self._tracing = tracing
        self._keys = keys
        self._open_paths = open_paths
        self.access_log = access_log
        self._places = max_requests
        self._in_flight = 0
        self._pace = Pace()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Inbound.from_scope(scope, receive)
        scope["request_id"], scope["inbound"] = request.id, request
        hot = self.hot.get(request.raw_path) if request.method == "POST" else None
        if hot is None:
            await self._ask_framework(request, scope, send)
        elif (refusal := self.admit(request)) is not None:
            await send_reply(send, refusal, request.id)
        else:
            try:
                reply = await self.respond(request, hot.handler)
            finally:
                self.leave()
            if reply is not None:
                await send_reply(send, reply, request.id)

    def admit(self, request: Inbound) -> Reply | None:
        """Take a place for a hot request, which `leave` gives back; the refusal where all are taken.

        At the door, before the picture is read: a refusal must cost a fraction of an answer.
        """
        try:
            self.take_place()
        except Overloaded as error:
            reply = reply_to(error, request.id, request.raw_path)
            self._end(request, reply.status, code=reply.code)
            return reply
        return None

    def take_place(self) -> None:
        """Raises `Overloaded` where all are taken; else `leave` is to be called."""
        if self._in_flight >= self._places:
            raise Overloaded(
                f"{self._in_flight} requests are being answered, all that DIGITS_MAX_QUEUE_SIZE allows. "
                "Ask again after Retry-After.",
                retry_after_s=self._in_flight * self._pace.seconds_per_answer,
            )
        self._in_flight += 1

    def leave(self) -> None:
        """Give the place of an admitted request back, whatever became of it."""
        self._in_flight -= 1
        self._pace.count()

    async def respond(self, request: Inbound, handler: Handler) -> Reply | None:
        """The answer of a hot route that was admitted, or the problem it met; None when the client has left."""
        span = None if self._tracing is None else self._tracing.begin(request.method, request.headers)
        try:
            self._authorise(request)
            reply = await handler(request)
        except Disconnected:
            self.unheard(request, span)
            return None
        except asyncio.CancelledError:
            self.unheard(request, span)
            raise
        except Exception as error:  # noqa: BLE001 - whatever is raised becomes an answer
            reply = reply_to(error, request.id, request.raw_path)
        if self._tracing is not None:
            reply.extra_headers.append((TRACEPARENT, self._tracing.traceparent(span)))
        self._end(request, reply.status, reply.timings, reply.code, span=span)
        return reply

    def unheard(self, request: Inbound, span: Any = None) -> None:
        """Count and log a request whose client left before its answer."""
        status, code = _unheard(request)
        self._end(request, status, code=code, span=span)

    def answer_at_once(self, request: Inbound, hot: Hot, finish: Callable[[Reply], None]) -> Leave | bool:
        """`respond` without a coroutine: what ends the wait until `finish` gets the reply; True where it has got it.

        False, and nothing is done, where that is not possible.
        """
        if hot.at_once is None or self._tracing is not None:
            return False

        def ended(reply_of: Callable[[Any], Reply], outcome: Any) -> None:
            try:
                reply = reply_of(outcome)
            except Exception as error:  # noqa: BLE001 - as above
                reply = reply_to(error, request.id, request.raw_path)
            self._end(request, reply.status, reply.timings, reply.code)
            finish(reply)

        try:
            self._authorise(request)
            return hot.at_once(request, ended) or False
        except Exception as error:  # noqa: BLE001 - as above
            ended(raised, error)
            return True

    async def _ask_framework(self, request: Inbound, scope: Scope, send: Send) -> None:
        if request.method == "HEAD":  # of every route its GET without the body (RFC 9110, 9.3.2)
            scope, send = {**scope, "method": "GET"}, without_body(send)
        span, outgoing = None, Stamped(send, request.id)
        if self._tracing is not None and not self._is_probe(request.raw_path):
            span = self._tracing.begin(request.method, request.headers)
            outgoing.headers.append((TRACEPARENT, self._tracing.traceparent(span)))
        try:
            if not self._is_sealed(request):
                self._authorise(request)
            await self._app(scope, request.receive, outgoing)
        except Exception as error:  # noqa: BLE001 - as above
            # Starlette raises a bug again after it let our handler answer it.
            if not outgoing.status:
                reply = reply_to(error, request.id, request.raw_path)
                scope["problem_code"] = reply.code
                await send_reply(outgoing, reply, request.id)
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        status, code = outgoing.status, scope.get("problem_code", "")
        if status in (0, CLIENT_CLOSED_REQUEST):
            status, code = _unheard(request)
        self._end(request, status, outgoing.timings, code, route, span)

    def refuse(self, request: Inbound, reply: Reply) -> None:
        """Count and log a request that the protocol answered without any handler."""
        self._end(request, reply.status, code=reply.code)

    def _authorise(self, request: Inbound) -> None:
        if self._keys.wanted and not self._is_probe(request.raw_path):
            self._keys.check(request.headers)

    def _is_sealed(self, request: Inbound) -> bool:
        return (
            self._keys.wanted
            and "seal" in request.query
            and self._keys.is_sealed(request.raw_path.decode("latin-1"), request.query)
        )

    def _is_probe(self, path: bytes) -> bool:
        return path in self._open_paths or (path.startswith(b"/v2/models/") and path.endswith(b"/ready"))

    def _end(
        self,
        request: Inbound,
        status: int,
        timings: str = "",
        code: str = "",
        route: str = "",
        span: Any = None,
    ) -> None:
        """Every request ends here, once: counted and, but for probes that were answered well, logged."""
        seconds = time.perf_counter() - request.began
        route = route or self.routes.get(request.raw_path, NO_ROUTE)
        model = request.model
        name, version = (model.name, model.version) if model is not None else ("", "")
        self._metrics.request(route, name, version, status, seconds)
        if request.decode_s is not None:
            self._metrics.decoded(route, name, version, request.decode_s)
        if code:
            self._metrics.refused(code)
        if span is not None and self._tracing is not None:
            told = {"url.path": request.raw_path.decode("latin-1"), "digits.request_id": request.id}
            told |= {"digits.model": name, "digits.version": version} if name else {}
            self._tracing.end(span, route, status, told, stages(request.decode_at, request.decode_s, timings))
        if request.method != "POST" and status == HTTPStatus.OK and self._is_probe(request.raw_path):
            return  # probes come every few seconds and the page's files by the dozen: only failures are news
        path = request.raw_path.decode("latin-1")
        self.access_log.write(request.method, path, status, seconds * 1e3, request.id, timings)


def _unheard(request: Inbound) -> tuple[int, str]:
    """Status and code of a request that no answer of a handler reached."""
    refusal = request.refusal
    return (CLIENT_CLOSED_REQUEST, "") if refusal is None else (refusal.status, refusal.code)


class Pace:
    """How long an answer takes at the rate of the last `PACE_ANSWERS`, in seconds."""

    def __init__(self) -> None:
        self.seconds_per_answer = 0.001
        self._since = time.monotonic()
        self._answers = 0

    def count(self) -> None:
        """One more answer."""
        self._answers += 1
        if self._answers >= PACE_ANSWERS:
            now = time.monotonic()
            self.seconds_per_answer = (now - self._since) / self._answers
            self._since, self._answers = now, 0
