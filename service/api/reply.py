"""What a hot route takes and gives: a request without a framework around it, and whole bytes to send."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = b"application/json"
NO_QUERY: Mapping[str, str] = MappingProxyType({})


class Inbound:
    """One HTTP request. Header names are lower case, as ASGI gives them."""

    __slots__ = ("_receive", "headers", "query", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        raw = scope["query_string"]
        self.query = _parse_query(raw) if raw else NO_QUERY
        self._receive = receive

    async def receive(self) -> MutableMapping[str, Any]:
        """The next ASGI message."""
        return await self._receive()


@lru_cache(maxsize=256)  # clients send the same few queries again and again, and parsing costs 10 us
def _parse_query(raw: bytes) -> Mapping[str, str]:
    return MappingProxyType(dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)))


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
