"""What can go wrong in a training run, for the person who typed the command: one line each and an exit code.

TrainingError    2    a mistake in the command: an unknown recipe, a number out of range
├── DataError    2    no data, or data that is not what it says it is
├── ResumeError  2    there is no checkpoint, or it belongs to another run
├── CheckFailed  1    the trained network is not good enough to be published
└── Interrupted  130  stopped by the user; the last checkpoint is kept
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import ClassVar


class TrainingError(Exception):
    exit_code: ClassVar[int] = 2


class DataError(TrainingError):
    pass


class ResumeError(TrainingError):
    pass


class CheckFailed(TrainingError):
    exit_code = 1


class Interrupted(TrainingError):
    exit_code = 130


def told_in_one_line(command: Callable[[], object]) -> int:
    """Runs a command; the exit code, 0 or that of the `TrainingError` it raised, which standard error is told."""
    try:
        command()
    except TrainingError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0
