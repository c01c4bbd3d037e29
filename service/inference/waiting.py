"""Who waits for a network: first come, first served, no more than a bound, each until its deadline.

Everything here is synchronous and happens on the event loop, so nothing can interleave (after httpcore).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import structlog

from service.errors import DeadlineExceeded, ServiceError
from service.inference.runtime import Tensor

Rows = tuple[Tensor, ...]  # one array for each input or output of the network, all with the same number of rows
T = TypeVar("T")
log = structlog.stdlib.get_logger(__name__)


class Ran:
    """What one run of the network gave all those whose rows were in it, and the seconds it took."""

    __slots__ = ("_told", "infer_s", "outputs")

    def __init__(self, outputs: Sequence[Tensor], infer_s: float) -> None:
        self.outputs = outputs
        self.infer_s = infer_s
        self._told: list[Any] | None = None

    def told(self) -> list[Any]:
        """The last output as lists, which are made once for all callers."""
        if self._told is None:
            self._told = self.outputs[-1].tolist()
        return self._told


class Answer:
    """One caller's rows of the outputs, and where the time went, in seconds."""

    __slots__ = ("_first", "_last", "_ran", "queue_s")

    def __init__(self, ran: Ran, first: int, last: int | None, queue_s: float) -> None:
        self._ran = ran
        self._first = first
        self._last = last
        self.queue_s = queue_s

    @classmethod
    def of(cls, outputs: Rows, queue_s: float, infer_s: float) -> Answer:
        """An answer that shares its run with nobody, whose outputs need not have as many rows each."""
        return cls(Ran(outputs, infer_s), 0, None, queue_s)

    @property
    def outputs(self) -> Rows:
        first, last, outputs = self._first, self._last, self._ran.outputs
        return tuple(outputs if last is None else [output[first:last] for output in outputs])

    @property
    def infer_s(self) -> float:
        return self._ran.infer_s

    def told(self) -> list[Any]:
        """Its rows of the last output as lists."""
        return self._ran.told()[self._first : self._last]


Done = Callable[[Answer | ServiceError], None]


class Waiter:
    """One caller's rows. `done` is called once, with what came of them, unless the caller left before."""

    __slots__ = ("_done", "_queue", "alone", "count", "deadline", "inputs", "left", "queued_at", "whole")

    def __init__(
        self, queue: Queue, inputs: Rows, queued_at: float, deadline: float, done: Done, *, whole: bool = True
    ) -> None:
        self._queue = queue
        self.inputs = inputs
        self.count = len(inputs[0])
        self.queued_at = queued_at
        self.deadline = deadline
        self._done = done
        self.whole = whole  # not a part of a call that is spread over several micro-batches
        self.alone = False  # a micro-batch that it was in failed
        self.left = False

    def tell(self, outcome: Answer | ServiceError) -> None:
        """What came of its rows. What the caller makes of it is nobody else's trouble."""
        if self.left:
            return
        try:
            self._done(outcome)
        except Exception:
            log.exception("a caller failed on its answer")

    def leave(self) -> None:
        """The caller wants no answer any more: its place is free again, and its rows cost no run."""
        if not self.left:
            self.left = True
            self._queue.drop(self)

    def differs_from(self, other: Waiter) -> bool:
        """Whether the two have rows of different shapes."""
        return [array.shape[1:] for array in self.inputs] != [array.shape[1:] for array in other.inputs]


class Queue:
    """Those whose run has not begun. `images` counts their rows; where `shapes_vary`, only like rows run together."""

    def __init__(self, *, shapes_vary: bool) -> None:
        self._waiters: deque[Waiter] = deque()
        self._shapes_vary = shapes_vary
        self.images = 0

    def __bool__(self) -> bool:
        return bool(self._waiters)

    @property
    def deadline(self) -> float:
        """Of its head. Nearly all callers come with one time-out, so it expires first; who asked for less is told
        when its turn comes.
        """
        return self._waiters[0].deadline

    def add(self, waiter: Waiter) -> None:
        self._waiters.append(waiter)
        self.images += waiter.count

    def put_back(self, batch: list[Waiter]) -> None:
        """Before all others again, in their order."""
        self._waiters.extendleft(reversed(batch))
        self.images += sum(waiter.count for waiter in batch)

    def drop(self, waiter: Waiter) -> None:
        """Out of turn, where it still waits."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
            self.images -= waiter.count

    def take(self, room: int, now: float) -> list[Waiter]:
        """The next micro-batch of at most `room` rows; who came too late is told so and costs no run."""
        batch: list[Waiter] = []
        waiters = self._waiters
        while waiters:
            waiter = waiters[0]
            if batch and (waiter.count > room or waiter.alone or (self._shapes_vary and waiter.differs_from(batch[0]))):
                break
            waiters.popleft()
            self.images -= waiter.count
            if now > waiter.deadline:
                waiter.tell(_too_late(now - waiter.queued_at))
                continue
            room = room - waiter.count if not waiter.alone else 0
            batch.append(waiter)
        return batch

    def expire(self, now: float) -> None:
        """Tell those at its head whose deadline has passed."""
        while self._waiters and self._waiters[0].deadline <= now:
            waiter = self._waiters.popleft()
            self.images -= waiter.count
            waiter.tell(_too_late(now - waiter.queued_at))


def _too_late(waited_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"The request waited {waited_s:.3f} s for its turn, longer than DIGITS_REQUEST_TIMEOUT_S or its own time-out. "
        "Ask again later, or send fewer at once."
    )


async def staying(waiters: list[Waiter], answer: Awaitable[T]) -> T:
    """What comes of the waiters; where nobody waits for it any more, or one of them failed, all leave."""
    try:
        return await answer
    except BaseException:
        for waiter in waiters:
            waiter.leave()
        raise


def settle(future: asyncio.Future[Answer], outcome: Answer | ServiceError) -> None:
    """Hand on what came of a waiter to the coroutine that waits for it."""
    if future.done():  # its coroutine was cancelled, and has not run since
        return
    if isinstance(outcome, ServiceError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def together(answers: Sequence[Answer]) -> Answer:
    """The answers to the parts of one call as one."""
    return Answer.of(
        tuple(np.concatenate(parts) for parts in zip(*(answer.outputs for answer in answers), strict=True)),
        max(answer.queue_s for answer in answers),
        sum(answer.infer_s for answer in answers),
    )
