"""Hot reload: keeps what is loaded in step with the repository on disk and with what operators asked for."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import structlog

from service.inference.board import Board
from service.inference.repository import Repository

BOARD_S = 0.1  # how often a worker looks whether another one was told something
log = structlog.stdlib.get_logger(__name__)


class Reloader:
    """Follows the board at once, and the disk every `poll_s` seconds; 0 leaves the disk to `wake` and the board.

    Versions that are replaced take requests for `retire_after_s` more seconds, then drain.
    """

    def __init__(self, repository: Repository, board: Board, *, poll_s: float, retire_after_s: float) -> None:
        self.repository = repository
        self.board = board
        self._poll_s = poll_s
        self._retire_after_s = retire_after_s
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="repository")
        self._one_at_a_time = asyncio.Lock()
        self._woken = asyncio.Event()
        self._followed = -1
        self._task: asyncio.Task[None] | None = None

    def load(self) -> None:
        """The first load, before there is an event loop or in a thread. Raises `StartupError`."""
        self.repository.load(self.board.read().unloaded)

    def start(self) -> None:
        """Begin to follow. Call on the event loop."""
        self._acknowledge(self.board.read().generation)
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._executor.shutdown()

    def rescan(self) -> None:
        """Ask every worker to look at the disk now: what SIGHUP means."""
        self.board.change()
        self._woken.set()

    async def refresh(self) -> None:
        """Bring what is loaded in step with the disk and the board, in one step at the end."""
        async with self._one_at_a_time:
            wanted = self.board.read()
            again = wanted.again if wanted.generation != self._followed else None
            loop = asyncio.get_running_loop()
            max_age_s = self._poll_s / 2 if wanted.generation == self._followed else 0.0
            await loop.run_in_executor(self._executor, self.repository.disk.fetch, max_age_s)
            models = await loop.run_in_executor(self._executor, self.repository.prepare, wanted.unloaded, again)
            self.repository.apply(models, wanted.unloaded, self._retire_after_s)
            self._acknowledge(wanted.generation)

    async def change(self, *, load: str | None = None, unload: str | None = None, timeout_s: float) -> bool:
        """Load or unload a model in every worker; whether all have followed within `timeout_s`."""
        generation = self.board.change(load=load, unload=unload)
        await self.refresh()
        until = time.monotonic() + timeout_s
        while not self.board.all_follow(generation):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(BOARD_S / 4)
        return True

    def _acknowledge(self, generation: int) -> None:
        self._followed = generation
        self.board.follow(generation, filter(self.repository.has_ready, self.repository.model_names()))

    async def _follow(self) -> None:
        looks = [BOARD_S if self.board.folder is not None else 0, self._poll_s]
        tick_s = min((seconds for seconds in looks if seconds), default=None)
        scanned = time.monotonic()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(tick_s):
                    await self._woken.wait()
            self._woken.clear()
            is_time = self._poll_s > 0 and time.monotonic() - scanned >= self._poll_s
            try:
                if not is_time and self.board.read().generation == self._followed:
                    continue
                scanned = time.monotonic()
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - what is loaded goes on answering, and the next look may succeed
                log.warning("cannot look at the repository", root=str(self.repository.disk.folder), error=str(error))
