"""The query of a request for predictions, checked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from service.api.reading import PREPROCESS
from service.api.reply import parse_query
from service.errors import InvalidValue

TRUTH = {"true": True, "1": True, "false": False, "0": False}


class Asked:
    """What the query asks for. Raises `InvalidValue`."""

    __slots__ = ("coverage", "model", "preprocess", "receipt", "version")

    def __init__(self, query: Mapping[str, str]) -> None:
        self.model = query.get("model")
        self.version = query.get("version")
        if self.version == "":
            raise InvalidValue("version='': expected the number of a version, or none to ask the newest.")
        name = query.get("preprocess", "auto")
        if name not in PREPROCESS:
            raise InvalidValue(f"preprocess={name!r}: expected auto or none.")
        self.preprocess = PREPROCESS[name]
        receipt = query.get("receipt", "false").lower()
        if receipt not in TRUTH:
            raise InvalidValue(f"receipt={receipt!r}: expected true or false.")
        self.receipt = TRUTH[receipt]
        coverage = query.get("coverage")
        self.coverage = None if coverage is None else _coverage(coverage)


@lru_cache(maxsize=64)  # clients send the same few again and again
def asked_by(raw_query: bytes) -> Asked:
    return Asked(parse_query(raw_query))


def _coverage(given: str) -> float:
    try:
        coverage = float(given)
    except ValueError:
        coverage = 0.0
    if not 0 < coverage < 1:
        raise InvalidValue(f"coverage={given!r}: expected a number between 0 and 1, such as 0.99.")
    return coverage
