"""Groups what waits into micro-batches, without a timer: an idle model runs at once, a busy one batches by itself.

Every change of state happens in a synchronous method on the event loop, so nothing can interleave (after httpcore).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial

import numpy as np
import structlog

from service.errors import NotReady, Overloaded, ServiceError
from service.inference.runtime import Tensor
from service.inference.speed import Speed
from service.inference.waiting import Answer, Done, Queue, Ran, Rows, Waiter, settle, staying, together
from service.metrics import VersionMetrics

Run = Callable[[Rows], Sequence[Tensor]]

log = structlog.stdlib.get_logger(__name__)


class InferenceFailed(ServiceError):
    """The network raised, or answered with another number of rows than it was given."""


@dataclass(frozen=True, slots=True)
class Statistics:
    queued_images: int
    running_images: int
    runs: int
    images: int
    seconds_per_image: float


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
        self._metrics = metrics
        self._executor = executor
        self.max_batch_size = max_batch_size
        self.max_queue_size = max_queue_size
        self._inline_below_s = inline_below_s
        self._speed = Speed(seconds_per_image)
        self._loop = asyncio.get_running_loop()
        self._queue = Queue(shapes_vary=shapes_vary)
        self._running: list[Waiter] = []
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
        size, count = self.max_batch_size, len(inputs[0])
        if count <= size:
            future = self._loop.create_future()
            return await staying([self.ask(inputs, timeout_s, partial(settle, future))], future)
        self._check_room(count)
        parts = [tuple(array[first : first + size] for array in inputs) for first in range(0, count, size)]
        futures = [self._loop.create_future() for _ in parts]
        now = time.perf_counter()
        waiters = [
            self._enqueue(Waiter(self._queue, part, now, now + timeout_s, partial(settle, future), whole=False))
            for part, future in zip(parts, futures, strict=True)
        ]
        answer = together(await staying(waiters, asyncio.gather(*futures)))
        if self._metrics is not None:
            self._metrics.answered([answer.queue_s], answer.infer_s)
        return answer

    def ask(self, inputs: Rows, timeout_s: float, done: Done) -> Waiter:
        """The same for rows that one micro-batch holds and for who is not a coroutine: `done` gets the answer or the
        error, on the loop, unless the waiter left before. Raises Overloaded, NotReady.
        """
        self._check_room(len(inputs[0]))
        now = time.perf_counter()
        return self._enqueue(Waiter(self._queue, inputs, now, now + timeout_s, done))

    def statistics(self) -> Statistics:
        running = sum(waiter.count for waiter in self._running)
        return Statistics(self._queue.images, running, self._runs, self._images, self._speed.seconds_per_image)

    async def close(self) -> None:
        """Refuse new calls, wait until every caller that is in has its answer, then end the executor."""
        self._closing = True
        await self._idle.wait()
        self._executor.shutdown()

    def _check_room(self, count: int) -> None:
        if self._closing:
            raise NotReady("This model version is being unloaded or the server is stopping. Ask again.")
        queue = self._queue
        if queue.images and queue.images + count > self.max_queue_size:
            raise Overloaded(
                f"{queue.images} images wait and {count} more would pass DIGITS_MAX_QUEUE_SIZE="
                f"{self.max_queue_size}. Ask again after Retry-After.",
                retry_after_s=queue.images * self._speed.seconds_per_image if self._runs else 1.0,
            )

    def _enqueue(self, waiter: Waiter) -> Waiter:
        self._queue.add(waiter)
        self._arrived = True
        if not self._running:
            self._schedule()
        elif self._timer is None:
            self._watch_deadline()
        return waiter

    def _schedule(self) -> None:
        # Not at once but in the next turn of the loop: whatever else this turn received joins the micro-batch.
        if not self._scheduled:
            self._scheduled = True
            self._idle.clear()
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        if self._arrived and self._queue.images < self.max_batch_size:
            # As long as every turn brings more, the loop is busy and nobody waits for a clock: the batches get twice
            # as large, and the network's weights are read once for each (docs/log.md).
            self._arrived = False
            self._loop.call_soon(self._start)
            return
        self._scheduled = self._arrived = False
        started = time.perf_counter()
        self._running = batch = self._queue.take(self.max_batch_size, started)
        if not batch:
            self._next()
            return
        inputs = batch[0].inputs
        if len(batch) > 1:
            inputs = tuple([np.concatenate(arrays) for arrays in zip(*[w.inputs for w in batch], strict=True)])
        if self._speed.undisturbed_s * len(inputs[0]) < self._inline_below_s:
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

    def _finish(self, batch: list[Waiter], done: asyncio.Future[Sequence[Tensor]], started: float) -> None:
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

    def _answer(self, batch: list[Waiter], outputs: Sequence[Tensor], started: float) -> None:
        infer_s = time.perf_counter() - started
        total = sum([waiter.count for waiter in batch])
        if any([len(output) != total for output in outputs]):  # noqa: C419 - a generator costs more than it saves
            shapes = ", ".join(str(output.shape) for output in outputs)
            self._fail(batch, ValueError(f"{total} images were answered with outputs of shapes {shapes}"))
            return
        self._runs += 1
        self._images += total
        self._speed.learn(infer_s / total)
        if self._metrics is not None:
            self._metrics.ran(total, infer_s)
            self._metrics.answered([started - one.queued_at for one in batch if one.whole and not one.left], infer_s)
        ran, first = Ran(outputs, infer_s), 0
        for waiter in batch:
            last = first + waiter.count
            waiter.tell(Answer(ran, first, last, started - waiter.queued_at))
            first = last

    def _fail_or_part(self, batch: list[Waiter], error: BaseException) -> None:
        """One caller's values may be what the network cannot take: each runs once more, alone."""
        if len(batch) == 1:
            self._fail(batch, error)
            return
        for waiter in batch:
            waiter.alone = True
        self._queue.put_back([waiter for waiter in batch if not waiter.left])

    def _fail(self, batch: list[Waiter], error: BaseException) -> None:
        log.error("a micro-batch failed", images=sum(w.count for w in batch), error=repr(error))
        for waiter in batch:
            # An exception of its own for every caller: one shared instance would collect all their tracebacks.
            own: ServiceError
            if isinstance(error, NotReady):
                own = NotReady(error.detail)
            else:
                own = InferenceFailed(f"{type(error).__name__}: {error}")
            own.__cause__ = error
            waiter.tell(own)

    def _watch_deadline(self) -> None:
        delay = max(0.0, self._queue.deadline - time.perf_counter())
        self._timer = self._loop.call_later(delay, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._queue.expire(time.perf_counter())
        if self._queue:
            self._watch_deadline()
