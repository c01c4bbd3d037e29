"""Groups what waits into micro-batches, without a timer: an idle model runs at once, a busy one batches by itself.

Every change of state happens in a synchronous method on the event loop, so nothing can interleave (after httpcore).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import structlog

from service.errors import DeadlineExceeded, NotReady, Overloaded, ServiceError
from service.inference.runtime import Tensor
from service.metrics import VersionMetrics

Rows = tuple[Tensor, ...]  # one array for each input or output of the network, all with the same number of rows
Run = Callable[[Rows], Sequence[Tensor]]

RATE_SMOOTHING = 0.2  # weight of the newest run in the running mean of seconds per image
log = structlog.stdlib.get_logger(__name__)


class InferenceFailed(ServiceError):
    """The network raised, or answered with another number of rows than it was given."""


class Answer(NamedTuple):
    """One caller's rows of the outputs, and where the time went, in seconds."""

    outputs: Rows
    queue_s: float
    infer_s: float


@dataclass(frozen=True, slots=True)
class Statistics:
    queued_images: int
    running_images: int
    runs: int
    images: int
    seconds_per_image: float


class _Waiter:
    __slots__ = ("alone", "count", "deadline", "future", "inputs", "queued_at")

    def __init__(self, inputs: Rows, queued_at: float, deadline: float, future: asyncio.Future[Answer]) -> None:
        self.inputs = inputs
        self.count = len(inputs[0])
        self.queued_at = queued_at
        self.deadline = deadline
        self.future = future
        self.alone = False  # a micro-batch that it was in failed

    def differs_from(self, other: _Waiter) -> bool:
        """Whether the two have rows of different shapes."""
        return [array.shape[1:] for array in self.inputs] != [array.shape[1:] for array in other.inputs]


class MicroBatcher:
    """Batches the calls of the running event loop for one network.

    `run` gets stacked inputs and returns the outputs, row for row. Runs expected to take less than `inline_below_s`
    happen on the loop, where a hop to a thread costs more than they do; all others in `executor`, one at a time.
    `max_batch_size` and `max_queue_size` count images. Where `shapes_vary`, only rows of the same shapes run together.
    """

    def __init__(
        self,
        run: Run,
        executor: Executor,
        *,
        max_batch_size: int,
        max_queue_size: int,
        seconds_per_image: float = math.inf,
        inline_below_s: float = 0.0,
        shapes_vary: bool = False,
        metrics: VersionMetrics | None = None,
    ) -> None:
        self._run = run
        self._shapes_vary = shapes_vary
        self._metrics = metrics
        self._executor = executor
        self.max_batch_size = max_batch_size
        self.max_queue_size = max_queue_size
        self._inline_below_s = inline_below_s
        self._seconds_per_image = seconds_per_image
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiter] = deque()
        self._queued_images = 0
        self._running: list[_Waiter] = []
        self._scheduled = False
        self._arrived = False
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: asyncio.TimerHandle | None = None
        self._runs = 0
        self._images = 0

    async def submit(self, inputs: Rows, timeout_s: float) -> Answer:
        """The outputs for `inputs`, whose rows may spread over several micro-batches.

        Raises:
            Overloaded: the queue is full.
            DeadlineExceeded: a run had not begun after `timeout_s`.
            NotReady: the batcher is closing.
            InferenceFailed: the network failed on a micro-batch these rows were in.
        """
        waiters = self._enqueue(inputs, timeout_s)
        try:
            if len(waiters) == 1:
                answer = await waiters[0].future
            else:
                answer = _together([await waiter.future for waiter in waiters])
        except BaseException:
            for waiter in waiters:
                self._forget(waiter)
            raise
        if self._metrics is not None:
            self._metrics.answered(answer.queue_s, answer.infer_s)
        return answer

    def statistics(self) -> Statistics:
        running = sum(waiter.count for waiter in self._running)
        return Statistics(self._queued_images, running, self._runs, self._images, self._seconds_per_image)

    async def close(self) -> None:
        """Refuse new calls, wait until every caller that is in has its answer, then end the executor."""
        self._closing = True
        await self._idle.wait()
        self._executor.shutdown()

    def _enqueue(self, inputs: Rows, timeout_s: float) -> list[_Waiter]:
        count = len(inputs[0])
        if self._closing:
            raise NotReady("This model version is being unloaded or the server is stopping. Ask again.")
        if self._queue and self._queued_images + count > self.max_queue_size:
            raise Overloaded(
                f"{self._queued_images} images wait and {count} more would pass DIGITS_MAX_QUEUE_SIZE="
                f"{self.max_queue_size}. Ask again after Retry-After.",
                retry_after_s=self._queued_images * self._seconds_per_image if self._runs else 1.0,
            )
        now = time.perf_counter()
        deadline, size = now + timeout_s, self.max_batch_size
        parts = [inputs]
        if count > size:
            parts = [tuple(array[first : first + size] for array in inputs) for first in range(0, count, size)]
        waiters = [_Waiter(part, now, deadline, self._loop.create_future()) for part in parts]
        self._queue.extend(waiters)
        self._arrived = True
        self._queued_images += count
        self._idle.clear()
        if not self._running:
            self._schedule()
        elif self._timer is None:
            self._watch_deadline()
        return waiters

    def _schedule(self) -> None:
        # Not at once but in the next turn of the loop: whatever else this turn received joins the micro-batch.
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        if self._arrived and self._queued_images < self.max_batch_size:
            # As long as every turn brings more, the loop is busy and nobody waits for a clock: the batches get twice
            # as large, and the network's weights are read once for each (docs/log.md).
            self._arrived = False
            self._loop.call_soon(self._start)
            return
        self._scheduled = self._arrived = False
        self._running = batch = self._take()
        if not batch:
            self._idle.set()
            return
        inputs = batch[0].inputs
        if len(batch) > 1:
            inputs = tuple(np.concatenate(arrays) for arrays in zip(*(w.inputs for w in batch), strict=True))
        started = time.perf_counter()
        if self._seconds_per_image * len(inputs[0]) < self._inline_below_s:
            try:
                outputs = self._run(inputs)
            except Exception as error:  # noqa: BLE001 - whatever the network raises belongs to this batch
                self._fail_or_part(batch, error)
            else:
                self._answer(batch, outputs, started)
            self._next()
        else:
            try:
                run = self._loop.run_in_executor(self._executor, self._run, inputs)
            except RuntimeError as error:  # the executor was shut down
                self._fail(batch, NotReady(f"The server is stopping: {error}"))
                self._next()
                return
            run.add_done_callback(lambda done: self._finish(batch, done, started))
            if self._queue:
                self._watch_deadline()

    def _take(self) -> list[_Waiter]:
        """The next micro-batch: first come, first served; who left or came too late costs no run."""
        batch: list[_Waiter] = []
        room = self.max_batch_size
        now = time.perf_counter()
        while self._queue:
            waiter = self._queue[0]
            if batch and (waiter.count > room or waiter.alone or (self._shapes_vary and waiter.differs_from(batch[0]))):
                break
            self._queue.popleft()
            self._queued_images -= waiter.count
            if waiter.future.done():  # its caller left
                continue
            if now > waiter.deadline:
                waiter.future.set_exception(_too_late(now - waiter.queued_at))
                continue
            room = room - waiter.count if not waiter.alone else 0
            batch.append(waiter)
        return batch

    def _finish(self, batch: list[_Waiter], done: asyncio.Future[Sequence[Tensor]], started: float) -> None:
        if done.cancelled():
            self._fail(batch, NotReady("The server is stopping."))
        elif (error := done.exception()) is not None:
            self._fail_or_part(batch, error)
        else:
            self._answer(batch, done.result(), started)
        self._next()

    def _next(self) -> None:
        self._running = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue:
            self._schedule()
        else:
            self._idle.set()

    def _answer(self, batch: list[_Waiter], outputs: Sequence[Tensor], started: float) -> None:
        infer_s = time.perf_counter() - started
        total = sum(waiter.count for waiter in batch)
        if any(len(output) != total for output in outputs):
            shapes = ", ".join(str(output.shape) for output in outputs)
            self._fail(batch, ValueError(f"{total} images were answered with outputs of shapes {shapes}"))
            return
        self._runs += 1
        self._images += total
        if self._metrics is not None:
            self._metrics.ran(total, infer_s)
        measured = infer_s / total
        known = self._seconds_per_image
        self._seconds_per_image = known + RATE_SMOOTHING * (measured - known) if math.isfinite(known) else measured
        first = 0
        for waiter in batch:
            last = first + waiter.count
            if not waiter.future.done():
                rows = tuple([output[first:last] for output in outputs])
                waiter.future.set_result(Answer(rows, started - waiter.queued_at, infer_s))
            first = last

    def _fail_or_part(self, batch: list[_Waiter], error: BaseException) -> None:
        """One caller's values may be what the network cannot take: each runs once more, alone."""
        if len(batch) == 1:
            self._fail(batch, error)
            return
        for waiter in reversed(batch):
            waiter.alone = True
            self._queue.appendleft(waiter)
            self._queued_images += waiter.count

    def _fail(self, batch: list[_Waiter], error: BaseException) -> None:
        log.error("a micro-batch failed", images=sum(w.count for w in batch), error=repr(error))
        for waiter in batch:
            if not waiter.future.done():
                # An exception of its own for every caller: one shared instance would collect all their tracebacks.
                own: ServiceError
                if isinstance(error, NotReady):
                    own = NotReady(error.detail)
                else:
                    own = InferenceFailed(f"{type(error).__name__}: {error}")
                own.__cause__ = error
                waiter.future.set_exception(own)

    def _forget(self, waiter: _Waiter) -> None:
        if waiter in self._queue:
            self._queue.remove(waiter)
            self._queued_images -= waiter.count
        if not waiter.future.cancel() and not waiter.future.cancelled():
            waiter.future.exception()  # looked at, or asyncio would complain that nobody did

    def _watch_deadline(self) -> None:
        # Nearly all callers come with one time-out, so the head of the queue is the first to expire; who asked for less
        # is told when its turn comes.
        head = self._queue[0]
        delay = max(0.0, head.deadline - time.perf_counter())
        self._timer = self._loop.call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timer = None
        now = time.perf_counter()
        while self._queue and self._queue[0].deadline <= now:
            waiter = self._queue.popleft()
            self._queued_images -= waiter.count
            if not waiter.future.done():
                waiter.future.set_exception(_too_late(now - waiter.queued_at))
        if self._queue:
            self._watch_deadline()


def _together(answers: Sequence[Answer]) -> Answer:
    """The answers to the parts of one call as one."""
    return Answer(
        tuple(np.concatenate(parts) for parts in zip(*(answer.outputs for answer in answers), strict=True)),
        max(answer.queue_s for answer in answers),
        sum(answer.infer_s for answer in answers),
    )


def _too_late(waited_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"The request waited {waited_s:.3f} s for its turn, longer than DIGITS_REQUEST_TIMEOUT_S. "
        "Ask again later, or send fewer at once."
    )
