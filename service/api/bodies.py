"""A request's bytes to the pictures in it: encoded files or pixel arrays, with the limits while it streams in."""

from __future__ import annotations

import binascii
import re
import threading
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np

from service.api.multipart import MAX_OTHER_PARTS, Form, Part, boundary_of, plain_parts
from service.api.reply import Inbound
from service.errors import (
    InvalidImage,
    InvalidValue,
    MalformedRequest,
    Overloaded,
    ServiceError,
    TooLarge,
    UnsupportedMediaType,
)
from service.imaging.grey import GreyImage

DATA_URL = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
FORMS = (
    "Send multipart/form-data, application/json, or the encoded picture itself as image/* or application/octet-stream"
)
Level = Annotated[int, msgspec.Meta(ge=0, le=255)]
Level_ = Annotated[float, msgspec.Meta(ge=0, le=255)]  # 7.0 is a whole number, too


class Disconnected(Exception):
    """The client left before its body was whole: there is nobody to answer."""


class Submitted(NamedTuple):
    """One picture as a client sent it: an encoded file, pixels, or what is wrong with it."""

    content: bytes | bytearray | GreyImage | ServiceError
    filename: str | None = None


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


class Body(NamedTuple):
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
    files = sum(part.name == wanted for part in parts)
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


def one_picture(body: Body) -> Submitted:
    """The picture of a request that holds one.

    Raises:
        MalformedRequest: broken JSON, a truncated form, no picture or several.
        InvalidImage, InvalidValue: what stands in the picture's place is none.
    """
    if body.kind == "file":
        if not body.content:
            raise MalformedRequest("The body is empty: expected an encoded picture in it.")
        return Submitted(body.content)
    if body.kind == "form":
        pictures = _files(body.parts, "file")
        if len(pictures) > 1:
            raise MalformedRequest(f"{len(pictures)} parts named 'file'; this route takes one. Use /predict/batch.")
        return pictures[0]
    image, pixels = _json_fields(body.content, "image", "pixels")
    return Submitted(from_base64(image, "image") if image is not None else _from_rows(pixels, "pixels"))


def many_pictures(body: Body, max_images: int) -> list[Submitted]:
    """The pictures of a batch; what is wrong with one of them stands in its place.

    Raises:
        MalformedRequest: broken JSON, a truncated form, no picture in it.
        TooLarge: more than `max_images`.
        UnsupportedMediaType: a lone picture.
    """
    if body.kind == "file":
        raise UnsupportedMediaType(
            "A batch comes as multipart/form-data with parts named 'files', or as application/json. "
            "For one picture use /predict."
        )
    if body.kind == "form":
        return _files(body.parts, "files")
    images, pixels = _json_fields(body.content, "images", "pixels")
    name = "images" if images is not None else "pixels"
    items = decode_part(images if images is not None else pixels, list[msgspec.Raw], name)
    if not items:
        raise MalformedRequest(f"{name!r} is an empty list: expected at least one picture.")
    if len(items) > max_images:
        raise TooLarge(
            f"{len(items)} images in one request, at most {max_images}. "
            "Send fewer, or have DIGITS_MAX_BATCH_IMAGES raised."
        )
    read = from_base64 if images is not None else _from_rows
    return [Submitted(_or_error(read, item, f"{name}[{index}]")) for index, item in enumerate(items)]


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


def _files(parts: list[Part], wanted: str) -> list[Submitted]:
    # A browser's form with no file chosen sends the part all the same, nameless and empty.
    found = [part for part in parts if part.name == wanted and (part.content or part.filename)]
    if not found:
        names = ", ".join(sorted({repr(part.name) for part in parts})) or "no part"
        raise MalformedRequest(f"Expected a file in a part named {wanted!r}; found {names}. {_curl_hint(wanted)}")
    return [Submitted(part.content, part.filename) for part in found]


def _curl_hint(wanted: str) -> str:
    return f"With curl: -F {wanted}=@picture.png"


def _json_fields(content: bytes | bytearray, *names: str) -> tuple[msgspec.Raw | None, ...]:
    """The values of the one of `names` that the object has, None for the others."""
    try:
        fields = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise MalformedRequest(f"Expected a JSON object with {' or '.join(map(repr, names))}: {error}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedRequest(f"The body is not JSON: {error}") from None
    given = [name for name in names if name in fields and bytes(fields[name]) != b"null"]
    if len(given) != 1:
        came = ", ".join(map(repr, list(fields)[:8])) or "an empty object"
        raise MalformedRequest(f"Expected either {' or '.join(map(repr, names))} in the JSON object; came {came}.")
    return tuple(fields[name] if name in given else None for name in names)


def decode_part(raw: Any, kind: Any, name: str) -> Any:
    """What stands in the field `name` as `kind`. Raises `InvalidValue`, `MalformedRequest`."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidValue(f"In {name!r}: {error}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedRequest(f"In {name!r}: not JSON: {error}") from None


def from_base64(raw: Any, name: str) -> bytes:
    text: str = decode_part(raw, str, name)
    match = DATA_URL.match(text)
    if text[:5].lower() == "data:" and match is None:
        raise InvalidImage(f"{name!r} is a data: URL without base64. Expected data:image/png;base64,...")
    payload = text[match.end() if match else 0 :].translate(_TOLERATED)
    try:
        content = binascii.a2b_base64(payload + "=" * (-len(payload) % 4), strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage(
            f"{name!r} is not base64 ({error}). Expected the base64 of an image file, or a data: URL."
        ) from None
    if not content:
        raise InvalidImage(f"{name!r} is empty. Expected the base64 of an image file, or a data: URL.")
    return content


# Line breaks as MIME sets them, and the URL-safe alphabet, mean what they mean everywhere.
_TOLERATED = str.maketrans({" ": None, "\n": None, "\r": None, "\t": None, "-": "+", "_": "/"})


def _from_rows(raw: Any, name: str) -> GreyImage:
    try:
        rows = decode_part(raw, list[list[Level]], name)
    except InvalidValue:
        rows = decode_part(raw, list[list[Level_]], name)
        if any(value != int(value) for row in rows for value in row):
            raise InvalidValue(f"{name!r} must hold whole numbers 0..255; some are fractions.") from None
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        lengths = sorted({len(row) for row in rows})[:4]
        raise InvalidValue(f"{name!r} must be rows of one length, at least one pixel; came lengths {lengths}.")
    return np.array(rows, np.uint8)


def _or_error(read: Any, raw: Any, name: str) -> Any:
    try:
        return read(raw, name)
    except ServiceError as error:
        return error
