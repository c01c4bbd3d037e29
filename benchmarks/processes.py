"""Servers as child processes: started, pinned to CPUs, their CPU time and memory read from /proc, stopped.

A server is everything in its session, so that workers and helpers count wherever they hang in the tree.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parent.parent
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STOP_S = 10.0


@dataclass(frozen=True)
class Cpus:
    """The CPUs of this machine that may be used: the first for the servers, the last for their clients."""

    allowed: tuple[int, ...]

    @classmethod
    def available(cls) -> Cpus:
        return cls(tuple(sorted(os.sched_getaffinity(0))))

    def servers(self, workers: int = 1) -> set[int]:
        return set(self.allowed[:workers])

    @property
    def clients(self) -> set[int]:
        return {self.allowed[-1]}

    def shared(self, workers: int = 1) -> bool:
        """Whether clients take time from the server."""
        return bool(self.servers(workers) & self.clients)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A command that listens on `port`, pinned to `cpus`; its output goes to `log`."""

    def __init__(
        self, command: Sequence[str], port: int, *, cpus: Iterable[int], log: Path, environment: Mapping[str, str]
    ) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DIGITS_")}
        self.port = port
        self.log = log
        self.started_at = time.perf_counter()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**inherited, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        # Before Python has started any thread; all that come later inherit it.
        os.sched_setaffinity(self._process.pid, cpus)

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def cpu_s(self) -> float:
        """User and system time of all its processes so far, and of those of them that ended."""
        # proc(5), /proc/pid/stat: utime, stime, cutime and cstime are fields 14 to 17.
        return sum(sum(int(ticks) for ticks in fields[11:15]) for fields in self._stats()) / TICKS_PER_S

    def resident_bytes(self) -> int:
        """Resident memory, summed over its processes; what they share counts for each."""
        return sum(int(fields[21]) for fields in self._stats()) * PAGE_BYTES

    def _stats(self) -> list[list[str]]:
        """/proc/pid/stat of its processes, from field 3 on: what follows the name, which may hold anything."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:  # it ended while we looked
                continue
            if int(fields[3]) == self._process.pid:
                found.append(fields)
        return found

    def stop(self) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(STOP_S)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
