"""What happens between a worker's start and its end: loading, following the disk, signals, draining."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import FrameType
from typing import Protocol

import structlog

from service.errors import StartupError
from service.inference.reload import Reloader
from service.logs import AccessLog
from service.sampling import Sampler
from service.settings import Settings
from service.tracing import Tracing

# Runs expected to be shorter happen on the event loop; a hop to a thread costs about 0.1 ms (docs/log.md).
INLINE_RUN_S = 0.005
# Requests in flight are young for long; with CPython's 700 they are looked through at every batch (docs/log.md).
YOUNG_OBJECTS = 20_000
RETRY_S = 1.0
log = structlog.stdlib.get_logger(__name__)


class Draining(Protocol):
    """`draining` is set once it should no longer be called ready."""

    draining: bool


def lifespan(
    settings: Settings,
    reloader: Reloader,
    sampler: Sampler,
    tracing: Tracing | None,
    access_log: AccessLog,
    executor: Executor,
) -> Callable[[Draining], AbstractAsyncContextManager[None]]:
    """The lifespan of an application that is made of these. Raises `StartupError` where no model can be served."""

    @asynccontextmanager
    async def run(app: Draining) -> AsyncIterator[None]:
        await _load(reloader, executor)
        reloader.repository.start(max_queue_size=settings.max_queue_size, inline_below_s=INLINE_RUN_S)
        reloader.start()
        sampler.start()
        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.rescan)
        # What start-up left lives for ever: the collector need not walk its 30 ms again and again (docs/log.md).
        gc.collect()
        gc.freeze()
        gc.set_threshold(YOUNG_OBJECTS, 10, 10)
        if settings.drain_delay_s:
            _drain_before_stopping(app, settings.drain_delay_s)
        yield
        await reloader.close()
        await reloader.repository.close()
        await sampler.close()
        if tracing is not None:
            await asyncio.get_running_loop().run_in_executor(executor, tracing.close)
        access_log.flush()
        executor.shutdown()

    return run


async def _load(reloader: Reloader, executor: Executor) -> None:
    """Load the models. Raises `StartupError`, but where other workers answer, from memory, for what is spoilt on disk.

    A worker that replaces one that died then waits until the disk is mended: its failed start would end them all.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            await loop.run_in_executor(executor, reloader.load)
        except StartupError as error:
            if not reloader.board.others_follow():
                raise
            log.error("this worker cannot start; the others go on", error=error.detail)  # noqa: TRY400 - it says all
        else:
            return
        with _dying_of_sigterm():
            await asyncio.sleep(RETRY_S)


@contextmanager
def _dying_of_sigterm() -> Iterator[None]:
    """Meanwhile SIGTERM ends the process: uvicorn only looks for it once the application has started."""
    then = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, then)


def _drain_before_stopping(app: Draining, delay_s: float) -> None:
    """On SIGTERM first stop being ready, so that load balancers look elsewhere; the server's handler comes later."""
    stop = signal.getsignal(signal.SIGTERM)
    if not callable(stop) or threading.current_thread() is not threading.main_thread():
        return
    then = stop
    loop = asyncio.get_running_loop()

    def drain(number: int, frame: FrameType | None) -> None:
        if app.draining:
            then(number, frame)
            return
        app.draining = True
        log.info("draining", seconds=delay_s)
        loop.call_soon_threadsafe(lambda: loop.call_later(delay_s, then, number, frame))

    signal.signal(signal.SIGTERM, drain)
