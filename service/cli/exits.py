"""How the command ends when something is wrong: one line and a code, never a traceback for a user's mistake."""

from __future__ import annotations

import sys
from typing import NoReturn

USAGE_ERROR = 2


def fail(text: str, code: int) -> NoReturn:
    print(f"digits: {text}", file=sys.stderr)
    raise SystemExit(code)
