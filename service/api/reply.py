"""What a hot route takes and gives: a request without a framework around it, and whole bytes to send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = b"application/json"


class Inbound:
    """One HTTP request. Header names are lower case, as ASGI gives them."""

    __slots__ = ("_receive", "headers", "query", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        raw = scope["query_string"]
        self.query: dict[str, str] = dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)) if raw else {}
        self._receive = receive

    async def receive(self) -> MutableMapping[str, Any]:
        """The next ASGI message."""
        return await self._receive()


class Reply:
    """A whole answer. `timings` is its Server-Timing header, empty where nothing was predicted."""

    __slots__ = ("body", "content_type", "headers", "status", "timings")

    def __init__(
        self,
        body: bytes,
        status: int = 200,
        content_type: bytes = JSON,
        headers: list[tuple[bytes, bytes]] | None = None,
        timings: str = "",
    ) -> None:
        self.body = body
        self.status = status
        self.content_type = content_type
        self.headers = headers or []
        self.timings = timings


Handler = Callable[[Inbound], Awaitable[Reply]]
