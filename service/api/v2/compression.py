"""gzip and deflate, both ways. Inflated bytes are capped, and count towards the memory that uploads may take."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

from service.api.bodies import Budget
from service.errors import MalformedRequest, TooLarge, UnsupportedMediaType

EITHER = 47  # zlib's number for "a gzip or a zlib header, whichever comes"
STEP_BYTES = 1 << 20
LEAST_BYTES = 128  # smaller answers grow
FASTEST = 1


def inflate(content: bytes | bytearray, encoding: bytes, max_bytes: int, budget: Budget) -> tuple[bytearray, int]:
    """The bytes that `content` stands for, and how many of the budget are to be given back for them.

    Raises:
        UnsupportedMediaType: another encoding.
        TooLarge: more than `max_bytes`.
        MalformedRequest: broken, cut off, or something comes after it.
        Overloaded: uploads hold as much memory as they may.
    """
    if encoding not in (b"gzip", b"deflate"):
        raise UnsupportedMediaType(f"Content-Encoding {encoding.decode('latin-1')!r}: expected gzip, deflate or none.")
    whole = bytearray()
    try:
        for step in _steps(bytes(content), encoding.decode()):
            budget.take(len(step))
            whole += step
            _check_size(len(whole), max_bytes)
    except BaseException:
        budget.give_back(len(whole))
        raise
    return whole, len(whole)


def _steps(content: bytes, encoding: str) -> Iterator[bytes]:
    inflater = zlib.decompressobj(EITHER)
    try:
        while content and not inflater.eof:
            yield inflater.decompress(content, STEP_BYTES)
            content = inflater.unconsumed_tail
        yield inflater.flush(STEP_BYTES)
    except zlib.error as error:
        raise MalformedRequest(f"The body is not {encoding}: {error}") from None
    if not inflater.eof or inflater.unused_data:
        raise MalformedRequest(f"The {encoding} body is cut off, or something comes after it.")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(
            f"The inflated body has more than {limit} bytes. Send less, or have DIGITS_MAX_BODY_BYTES raised."
        )


def accepted(header: bytes) -> bytes:
    """The encoding of an Accept-Encoding header that we speak and its sender likes best; empty for none."""
    best, liked = b"", 0.0
    for part in header.lower().split(b","):
        name, _, weight = part.partition(b";")
        try:
            quality = float(weight.partition(b"=")[2] or 1)
        except ValueError:
            quality = 0.0
        if name.strip() in (b"gzip", b"deflate") and quality > liked:
            best, liked = name.strip(), quality
    return best


def deflate(body: bytes, encoding: bytes) -> bytes:
    """Compressed for an encoding that `accepted` gave: fast rather than small."""
    return gzip.compress(body, FASTEST, mtime=0) if encoding == b"gzip" else zlib.compress(body, FASTEST)
