"""A real `digits serve` for tests: its own process, a free port."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent

NO_REPORTS = "/nonexistent"  # what the working tree happens to hold is not for tests to see
BASE = {"DIGITS_PORT": "0", "DIGITS_WORKERS": "1", "DIGITS_REPORTS": NO_REPORTS}


class Live:
    """A running service: its address, what it printed at start, its process."""

    def __init__(self, process: subprocess.Popen[str], log: IO[str]) -> None:
        self.process = process
        self._log = log
        assert process.stdout is not None
        self.greeting = process.stdout.readline() + process.stdout.readline()
        address = re.search(r"http://[^ ]+:\d+", self.greeting)
        assert address is not None, f"no address in {self.greeting!r}"
        self.url = address[0]

    def connect(self) -> socket.socket:
        """A connection for what no HTTP client sends."""
        parts = urlsplit(self.url)
        return socket.create_connection((parts.hostname, parts.port), timeout=30)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send the signal; the exit code and the log."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=60)
        return code, self.log()

    def log(self) -> str:
        """What it has logged, through a file position of our own: it goes on writing at the one that we share."""
        return Path(f"/proc/self/fd/{self._log.fileno()}").read_text()


@contextmanager
def serving(models: Path, **environment: str) -> Iterator[Live]:
    # The log goes to a file: a pipe that nobody reads would stop the service once it is full.
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(
            [sys.executable, "-m", "service", "serve"],
            cwd=ROOT,
            env={**os.environ, **BASE, "DIGITS_MODEL_REPOSITORY": str(models), **environment},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        try:
            yield Live(process, log)
        except BaseException:
            log.seek(0)
            sys.stderr.write(log.read()[-5000:])  # what the service had to say about it
            raise
        finally:
            if process.poll() is None:
                process.terminate()  # not killed: its workers would be left behind
                process.wait(timeout=60)


def digits(*arguments: str, models: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    if models is not None:
        environment["DIGITS_MODEL_REPOSITORY"] = str(models)
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
