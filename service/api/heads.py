"""Heads of requests that were parsed before: clients send the same bytes again and again.

Nothing is known but what the parser took, byte for byte, and nothing else is ever taken for it. So no request is read
here that the parser would refuse or read otherwise (docs/architecture.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from service.api.reply import Hot

BLANK = b"\r\n\r\n"
MOST_HEADS = 1024  # a client's heads differ in the length of its pictures
MOST_BYTES = 1024  # of one; with `MOST_HEADS` a few megabytes, whatever is sent


class Head(NamedTuple):
    """A parsed head of a request to a hot route, whose body has `length` bytes. The connection stays open after it."""

    path: bytes
    query: bytes
    headers: Mapping[bytes, bytes]
    hot: Hot
    length: int


class KnownHeads(dict[bytes, Head]):
    """Heads by all their bytes, the empty line at the end included."""

    def learn(self, data: bytes, head: Head, body: bytes) -> None:
        """Remember the head of a request that was all of `data`, as the parser read it."""
        end = data.find(BLANK) + len(BLANK)
        raw = data[:end]
        # Every line ends in CRLF and the first is no empty one, so that the head ends there for every parser.
        if raw.startswith(b"POST ") and raw.count(b"\n") == raw.count(b"\r\n") and data[end:] == body:
            if len(self) >= MOST_HEADS:
                self.clear()
            if end <= MOST_BYTES:
                self[raw] = head
