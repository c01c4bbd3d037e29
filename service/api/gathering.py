"""Reads the light pictures of all requests that one turn of the event loop brought, one after another.

So they find decoder and tables in the CPU's caches, and are compared with MNIST's convention all at once: reading takes
half of the time that it takes between other work (docs/log.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import structlog

from service.api.reading import PREPROCESS, Preprocess, Reader
from service.api.reply import Leave
from service.api.submitted import Submitted
from service.errors import ServiceError
from service.imaging.normalise import Normalised

# Takes what the network sees, what is wrong with the picture, or None where it is heavy; and its share of the seconds
# that reading took. Gives what ends the request's wait, where it goes on.
Read = Callable[[Normalised | ServiceError | None, float], Leave | None]
MOST = 64  # are read in one turn, which takes a millisecond
log = structlog.stdlib.get_logger(__name__)


class Ticket:
    """A request that waits for its picture to be read, and then for whatever follows."""

    __slots__ = ("_leave", "_read", "left", "picture", "preprocess")

    def __init__(self, picture: Submitted, preprocess: Preprocess, read: Read) -> None:
        self.picture = picture
        self.preprocess = preprocess
        self.left = False
        self._read = read
        self._leave: Leave | None = None

    def leave(self) -> None:
        """The client is gone: nothing more is done for it."""
        self.left = True
        if self._leave is not None:
            self._leave()

    def go_on(self, image: Normalised | ServiceError | None, decode_s: float) -> None:
        """With what became of its picture. What goes wrong then is nobody else's trouble."""
        try:
            self._leave = self._read(image, decode_s)
        except Exception:
            log.exception("a request failed on its picture")


class Gatherer:
    """Belongs to one event loop, where everything here happens."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._tickets: list[Ticket] = []

    def add(self, picture: Submitted, preprocess: Preprocess, read: Read) -> Ticket:
        """`read` gets the picture in the next turn of the loop, unless the ticket leaves before."""
        if not self._tickets:
            asyncio.get_running_loop().call_soon(self._read_all)
        ticket = Ticket(picture, preprocess, read)
        self._tickets.append(ticket)
        return ticket

    def _read_all(self) -> None:
        waiting = self._tickets[:MOST]
        del self._tickets[:MOST]
        if self._tickets:
            asyncio.get_running_loop().call_soon(self._read_all)
        for preprocess in PREPROCESS.values():
            tickets = [one for one in waiting if one.preprocess is preprocess and not one.left]
            if tickets:
                started = time.perf_counter()
                images = self._light([ticket.picture for ticket in tickets], preprocess)
                decode_s = (time.perf_counter() - started) / len(tickets)
                for ticket, image in zip(tickets, images, strict=True):
                    ticket.go_on(image, decode_s)

    def _light(self, pictures: list[Submitted], preprocess: Preprocess) -> Sequence[Normalised | ServiceError | None]:
        try:
            return self._reader.light(pictures, preprocess)
        except Exception:
            log.exception("pictures could not be read together")
            return [None] * len(pictures)  # read alone, each has what is wrong with it to itself
