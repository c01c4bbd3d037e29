"""Runs a command as a person at a terminal sees it."""

import os
import pty
import subprocess
import sys

from live import ROOT


def at_a_terminal(*arguments: str, columns: int = 80, **environment: str) -> tuple[int, str]:
    """The exit code of `digits` and all that it wrote, to a terminal of so many columns."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux tells so that the other side has closed it
            break
        if not part:
            break
        written += part
    os.close(ours)
    return process.wait(), written.decode()
