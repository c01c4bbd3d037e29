"""The outermost layer, once for every route: request id, key, errors to problems, headers, access line.

The hot routes are answered from here without the framework: it costs several times what they do (docs/log.md).
"""

from __future__ import annotations

import hmac
import os
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from service.api.bodies import Disconnected
from service.api.problems import reply_to
from service.api.reply import Handler, Inbound, Receive, Reply, Scope, Send
from service.errors import Unauthorized
from service.logs import AccessLog

SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")
CLIENT_CLOSED_REQUEST = 499  # nginx's status for the log: nobody is there to read one


class Edge:
    """An ASGI application around `app`. `hot` maps (method, path) to the handlers that answer without it."""

    def __init__(
        self,
        app: Any,
        hot: Mapping[tuple[str, str], Handler],
        *,
        api_key: str | None,
        open_paths: frozenset[str],
        access_log: AccessLog,
    ) -> None:
        self._app = app
        self._hot = hot
        self._api_key = api_key.encode() if api_key else None
        self._open_paths = open_paths
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        request = Inbound(scope, receive)
        request_id = scope["request_id"] = _request_id(request.headers)
        handler = self._hot.get((scope["method"], scope["path"]))
        try:
            if self._api_key is not None and scope["path"] not in self._open_paths:
                self._authorise(self._api_key, request.headers)
            if handler is None:
                status = await self._ask_framework(scope, receive, send, request_id)
                self._log(request, status, started, request_id, "")
                return
            reply = await handler(request)
        except Disconnected:
            self._log(request, CLIENT_CLOSED_REQUEST, started, request_id, "")
            return
        except Exception as error:  # noqa: BLE001 - whatever is raised becomes an answer
            reply = reply_to(error, request_id)
        await _send(send, reply, request_id)
        self._log(request, reply.status, started, request_id, reply.timings)

    async def _ask_framework(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        outgoing = _Stamped(send, request_id)
        try:
            await self._app(scope, receive, outgoing)
        except Exception:
            # Starlette raises a bug again after it let our handler answer it.
            if outgoing.status == CLIENT_CLOSED_REQUEST:
                raise
        return outgoing.status

    @staticmethod
    def _authorise(api_key: bytes, headers: Mapping[bytes, bytes]) -> None:
        given = headers.get(b"x-api-key", b"")
        scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer":
            given = token.strip()
        if not hmac.compare_digest(given, api_key):
            came = "another one" if given else "none"
            raise Unauthorized(
                f"This service wants an API key and the request has {came}. "
                "Send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
            )

    def _log(self, request: Inbound, status: int, started: float, request_id: str, timings: str) -> None:
        scope = request.scope
        if status == HTTPStatus.OK and scope["path"] in self._open_paths:
            return  # probes come every few seconds, and only their failures are news
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        self._access_log.write(
            scope["method"], path, status, (time.perf_counter() - started) * 1e3, request_id, timings
        )


class _Stamped:
    """`send` for the framework's answers: adds the request id, remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self.status = CLIENT_CLOSED_REQUEST

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self._request_id)]
        await self._send(message)


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id")
    if given is not None and SANE_ID.fullmatch(given):
        return given.decode()
    return os.urandom(16).hex()


async def _send(send: Send, reply: Reply, request_id: str) -> None:
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", str(len(reply.body)).encode()),
        (b"x-request-id", request_id.encode()),
        *reply.headers,
    ]
    if reply.timings:
        headers.append((b"server-timing", reply.timings.encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
