"""Numbers that one worker counts and every worker reads: plain lists, which cost least, copied into a shared file.

No locks: each file has one writer, which copies all its numbers at each `flush`. What a worker counted outlives it.
"""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

MOST_NUMBERS = 1 << 17  # 1 MiB
log = structlog.stdlib.get_logger(__name__)


class Block(NamedTuple):
    """Consecutive numbers of one metric with these label values."""

    metric: str
    labels: tuple[str, ...]
    numbers: list[float]


class _Entry(msgspec.Struct, array_like=True, frozen=True):
    metric: str
    labels: tuple[str, ...]
    first: int
    size: int


class Counters:
    """Numbers of one process, shown in `folder` where there are other workers. `numbers` is one list for good."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.numbers: list[float] = []
        self._entries: list[_Entry] = []
        self._before_flush: list[Callable[[], None]] = []
        if folder is not None:
            stem = f"{os.getpid()}-{time.time_ns()}"
            self._shared = os.open(folder / f"{stem}.numbers", os.O_CREAT | os.O_WRONLY, 0o600)
            self._keys = folder / f"{stem}.keys"
            self._keys.touch()

    def block(self, metric: str, labels: tuple[str, ...], size: int) -> int:
        """The place of `size` new numbers. Call once for each metric and labels."""
        first = len(self.numbers)
        if first + size > MOST_NUMBERS:
            log.warning("no room for more metrics; one is not counted", metric=metric, labels=labels)
            return first - size
        self.numbers += [0.0] * size
        entry = _Entry(metric, labels, first, size)
        self._entries.append(entry)
        if self.folder is not None:
            with self._keys.open("ab") as file:
                file.write(msgspec.json.encode(entry) + b"\n")
        return first

    def before_flush(self, count: Callable[[], None]) -> None:
        """`count` is called before the numbers are shown, to add what was put down since it last was."""
        self._before_flush.append(count)

    def flush(self) -> None:
        """Show the other workers what was counted. Raises OSError, where the disk is full."""
        for count in self._before_flush:
            count()
        if self.folder is not None:
            os.pwrite(self._shared, array("d", self.numbers), 0)

    def everyones(self) -> Iterator[tuple[int, bool, list[Block]]]:
        """Of each worker that ever was: its process, whether it lives, and its numbers as of its last flush."""
        if self.folder is None:
            yield os.getpid(), True, [_block(entry, self.numbers) for entry in list(self._entries)]
            return
        for path in sorted(self.folder.glob("*.keys")):
            entries = [msgspec.json.decode(line, type=_Entry) for line in path.read_bytes().splitlines()]
            most = max((entry.first + entry.size for entry in entries), default=0)
            with path.with_suffix(".numbers").open("rb") as file:
                numbers = array("d", file.read(most * 8).ljust(most * 8, b"\0")).tolist()
            process = int(path.stem.partition("-")[0])
            yield process, lives(process), [_block(entry, numbers) for entry in entries]


def _block(entry: _Entry, numbers: list[float]) -> Block:
    return Block(entry.metric, entry.labels, numbers[entry.first : entry.first + entry.size])


def lives(process: int) -> bool:
    """Whether there is such a process, of ours."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
