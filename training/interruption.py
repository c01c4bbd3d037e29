"""Ctrl-C and SIGTERM, put off while work goes on that an exception in its middle would leave stuck.

TensorFlow's threads call back into Python: cut off in a batch, they wait forever when the interpreter ends.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Whether someone has asked the run to stop."""

    requested = False

    def request(self, number: int, frame: object) -> None:
        """A signal handler: notes the first signal and lets the second one end the process at once."""
        del number, frame
        self.requested = True
        _handle(signal.SIG_DFL)


@contextmanager
def deferred() -> Iterator[Interruption]:
    """Signals are noted within, for the work to look at and stop early.

    Raises:
        KeyboardInterrupt: at the end, when there was a signal.
    """
    interruption = Interruption()
    with handled(interruption.request):
        yield interruption
    if interruption.requested:
        raise KeyboardInterrupt


@contextmanager
def handled(handler: Any) -> Iterator[None]:
    """Both signals go to `handler` within. Python lets the main thread alone set handlers; others change nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = [(number, signal.getsignal(number)) for number in SIGNALS]
    _handle(handler)
    try:
        yield
    finally:
        for number, former in previous:
            signal.signal(number, former)


def _handle(handler: Any) -> None:
    for number in SIGNALS:
        signal.signal(number, handler)
