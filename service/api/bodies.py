"""A request's bytes to a whole body, with the limits while it streams in; `submitted.py` finds the pictures in it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

from msgspec import Struct

from service.api.multipart import MAX_OTHER_PARTS, Form, Part, boundary_of, plain_parts
from service.api.reply import Inbound
from service.errors import Overloaded, TooLarge, UnsupportedMediaType

FORMS = (
    "Send multipart/form-data, application/json, or the encoded picture itself as image/* or application/octet-stream"
)
CLIENT_CLOSED_REQUEST = 499  # nginx's status for the log: nobody is there to read one


class Disconnected(Exception):
    """The client left before its body was whole: there is nobody to answer."""


class Budget:
    """How many bytes of large bodies may be in the service at once: what else bounds the memory of many uploads?"""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.held = 0
        self._lock = threading.Lock()  # bodies are inflated in threads

    def take(self, count: int) -> None:
        """Raises `Overloaded`."""
        with self._lock:
            if self.held + count <= self.max_bytes:
                self.held += count
                return
        raise Overloaded(
            f"{self.held} bytes of other uploads are being read, at most {self.max_bytes} "
            "(DIGITS_MAX_PENDING_BYTES). Ask again after Retry-After.",
            retry_after_s=1.0,
        )

    def give_back(self, count: int) -> None:
        with self._lock:
            self.held -= count


class Body(Struct, frozen=True):
    """A whole body that waits to be understood. `held` bytes of the budget are to be given back for it."""

    kind: str  # "form", "json" or "file"
    parts: list[Part]
    content: bytes | bytearray
    size: int
    held: int = 0


async def receive(
    request: Inbound, *, wanted: str, max_bytes: int, max_files: int, budget: Budget, kind: str | None = None
) -> Body:
    """Read the body, and a form's parts while they stream in. What it is tells its content type, or `kind`.

    Raises:
        UnsupportedMediaType: a content type that we do not read.
        TooLarge: more than `max_bytes`, or more than `max_files` parts called `wanted`.
        MalformedRequest: a broken form.
        Overloaded: too many large bodies are being read already.
        Disconnected: the client left.
    """
    if kind is None:
        kind = kind_of(request)
    if (length := request.headers.get(b"content-length", b"")).isdigit():
        _check_size(int(length), max_bytes)
    boundary = boundary_of(request.headers[b"content-type"]) if kind == "form" else b""
    message = await _next(request) if request.body is None else {"body": request.body}
    if not message.get("more_body", False):
        body = at_once(request, message.get("body", b""), kind, wanted=wanted, max_bytes=max_bytes, max_files=max_files)
        if body is not None:
            return body
    form = Form(boundary, wanted, max_files) if kind == "form" else None
    content = bytearray()
    received = 0
    try:
        async for chunk in _chunks(request, message):
            budget.take(len(chunk))
            received += len(chunk)
            _check_size(received, max_bytes)
            if form is None:
                content += chunk
            else:
                form.write(chunk)
        return Body(kind, [] if form is None else form.finish(), content, received, received)
    except BaseException:
        budget.give_back(received)
        raise


def at_once(request: Inbound, content: bytes, kind: str, *, wanted: str, max_bytes: int, max_files: int) -> Body | None:
    """The body that came whole, as it nearly always does, without a copy; None leaves an unusual form to `receive`.

    Raises:
        TooLarge: more than `max_bytes`.
        MalformedRequest: a form without a boundary.
    """
    _check_size(len(content), max_bytes)
    if kind != "form":
        return Body(kind, [], content, len(content))
    parts = plain_parts(content, boundary_of(request.headers[b"content-type"]))
    if parts is not None and _are_few(parts, wanted, max_files):
        return Body(kind, parts, b"", len(content))
    return None


def _are_few(parts: list[Part], wanted: str, max_files: int) -> bool:
    """Whether `Form`, which words the refusals, would take as many."""
    files = sum(part.is_file(wanted) for part in parts)
    return files <= max_files and len(parts) - files <= MAX_OTHER_PARTS


async def _chunks(request: Inbound, message: Any) -> AsyncIterator[bytes]:
    """The body's chunks, the one in `message` first."""
    yield message.get("body", b"")
    while message.get("more_body", False):
        message = await _next(request)
        yield message.get("body", b"")


async def _next(request: Inbound) -> Any:
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    return message


def kind_of(request: Inbound) -> str:
    """What the body is by its content type: "form", "json" or "file". Raises `UnsupportedMediaType`."""
    headers = request.headers
    return _kind(headers.get(b"content-type", b""), headers.get(b"content-encoding", b"identity"))


@lru_cache(maxsize=64)  # clients send the same few again and again
def _kind(content_type: bytes, encoding: bytes) -> str:
    media = content_type.split(b";", 1)[0].strip().lower()
    if encoding.lower() != b"identity":
        raise UnsupportedMediaType(f"Content-Encoding {encoding.decode('latin-1')!r} is not read. Send it as it is.")
    if media.startswith(b"image/") or media == b"application/octet-stream":
        return "file"
    if media == b"multipart/form-data":
        return "form"
    if media == b"application/json":
        return "json"
    came = f"Content-Type {media.decode('latin-1')!r}" if media else "no Content-Type"
    raise UnsupportedMediaType(f"{FORMS}; this request has {came}.")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(
            f"The body may have {limit} bytes; this one has {size}, or more. "
            "Send a smaller picture, or have DIGITS_MAX_BODY_BYTES raised."
        )
