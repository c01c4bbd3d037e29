"""What a hot route takes and gives: a request without a framework around it, and whole bytes to send."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from service.inference.version import ModelVersion

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON = b"application/json"
IDS_AT_ONCE = 64
NO_QUERY: Mapping[str, str] = MappingProxyType({})
SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")


class Inbound:
    """One HTTP request. Header names are lower case; `id` is the client's X-Request-ID where it sent a sane one.

    `body` is the whole body where it came at once; else `receive` brings it. `began` is when it came. For metrics and
    traces its handler tells which `model` answers, when it began to read what came (time.perf_counter, too) and how
    many seconds that took. `refusal` is what the protocol answered while the handler still waited for the body.
    """

    __slots__ = (
        "began", "body", "decode_at", "decode_s", "headers", "id", "method", "model", "raw_path", "raw_query",
        "receive", "refusal",
    )  # fmt: skip

    def __init__(
        self, method: str, raw_path: bytes, raw_query: bytes, headers: Mapping[bytes, bytes], receive: Receive
    ) -> None:
        self.began = time.perf_counter()
        self.method = method
        self.raw_path = raw_path
        self.raw_query = raw_query
        self.headers = headers
        self.receive = receive
        self.body: bytes | None = None
        self.model: ModelVersion | None = None
        self.decode_at = 0.0
        self.decode_s: float | None = None
        self.refusal: Reply | None = None
        given = self.headers.get(b"x-request-id")
        sane = given is not None and SANE_ID.fullmatch(given)
        self.id: str = given.decode() if sane else new_id()  # type: ignore[union-attr]

    @classmethod
    def from_scope(cls, scope: Scope, receive: Receive) -> Inbound:
        raw_path = scope.get("raw_path") or scope["path"].encode()
        return cls(scope["method"], raw_path, scope["query_string"], dict(scope["headers"]), receive)

    @property
    def query(self) -> Mapping[str, str]:
        return parse_query(self.raw_query) if self.raw_query else NO_QUERY


async def receive_nothing() -> MutableMapping[str, Any]:
    """The `receive` of a request whose body comes at once, or never."""
    raise AssertionError("nothing receives the body of this request")


_ids: list[str] = []


def new_id() -> str:
    """32 hexadecimal digits, random."""
    try:
        return _ids.pop()
    except IndexError:
        digits = os.urandom(16 * IDS_AT_ONCE).hex()  # a system call
        _ids.extend(digits[first : first + 32] for first in range(32, len(digits), 32))
        return digits[:32]


@lru_cache(maxsize=256)  # clients send the same few queries again and again, and parsing costs 10 us
def parse_query(raw: bytes) -> Mapping[str, str]:
    return MappingProxyType(dict(parse_qsl(raw.decode("latin-1"), keep_blank_values=True)))


class Reply:
    """A whole answer. `timings` is its Server-Timing header, where something was predicted; `code` is an error's."""

    __slots__ = ("body", "code", "content_type", "extra_headers", "status", "timings")

    def __init__(
        self,
        body: bytes,
        status: int = 200,
        content_type: bytes = JSON,
        extra_headers: list[tuple[bytes, bytes]] | None = None,
        timings: str = "",
        code: str = "",
    ) -> None:
        self.body = body
        self.code = code
        self.status = status
        self.content_type = content_type
        self.extra_headers = extra_headers or []
        self.timings = timings

    def headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        """All headers of the answer."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            (b"x-request-id", request_id.encode()),
            *self.extra_headers,
        ]
        if self.timings:
            headers.append((b"server-timing", self.timings.encode()))
        return headers

    def head(self, request_id: str) -> bytes:
        """The same as they stand in HTTP/1.1, each line with its end."""
        timings = f"server-timing: {self.timings}\r\n" if self.timings else ""
        head = f"\r\ncontent-length: {len(self.body)}\r\nx-request-id: {request_id}\r\n{timings}".encode()
        more = [b"%b: %b\r\n" % header for header in self.extra_headers]
        return b"".join((b"content-type: ", self.content_type, head, *more))


def raised(error: Exception) -> Reply:
    """For `Deliver`: what raises this error."""
    raise error


Handler = Callable[[Inbound], Awaitable[Reply]]
Deliver = Callable[[Callable[[Any], Reply], Any], None]  # takes what makes the reply, or raises its error, and of what


Leave = Callable[[], object]  # ends the wait for an answer that nobody reads any more


class Hot(NamedTuple):
    """How a hot route is answered. `at_once` does without a coroutine: it delivers, unless it gives None, which leaves
    the request to `handler`, or what it gives is called before.
    """

    handler: Handler
    at_once: Callable[[Inbound, Deliver], Leave | None] | None = None
