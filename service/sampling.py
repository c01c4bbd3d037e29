"""Ten times a second: how late the event loop is, what waits, and this worker's numbers for the others to see."""

from __future__ import annotations

import asyncio

import structlog

from service.inference.repository import Repository
from service.metrics import Metrics

EVERY_S = 0.1
log = structlog.stdlib.get_logger(__name__)


class Sampler:
    """Samples from `start` to `close`. What it shows is at most `EVERY_S` old."""

    def __init__(self, metrics: Metrics, repository: Repository) -> None:
        self._metrics = metrics
        self.counters = metrics.counters
        self._repository = repository
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._sample())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.show()

    def show(self) -> None:
        """Let the other workers see what was counted until now."""
        self._repository.measure()
        try:
            self.counters.flush()
        except OSError as error:
            log.warning("the other workers cannot see what this one counted", error=str(error))

    async def all_shown(self) -> None:
        """Wait until every worker shows what it had counted when this was called."""
        if self.counters.folder is not None:
            await asyncio.sleep(1.5 * EVERY_S)
        self.show()

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.show()
            asked = loop.time()
            await asyncio.sleep(EVERY_S)
            self._metrics.loop_lag_seconds.append(max(0.0, loop.time() - asked - EVERY_S))
