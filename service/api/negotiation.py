"""What a client would rather have: `Accept` and `Accept-Encoding` with their weights (RFC 9110, 12.4.2 and 12.5)."""

from __future__ import annotations

from functools import lru_cache

ANYTHING = "*/*"


def _weights(header: str) -> dict[str, float]:
    weights = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if name:
            weights[name] = _weight(parameters)
    return weights


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0  # what nobody can read is not wanted
    return 1.0


def accepts_gzip(accept_encoding: str) -> bool:
    weights = _weights(accept_encoding)
    return weights.get("gzip", weights.get("*", 0.0)) > 0


@lru_cache(maxsize=256)  # the same few headers come with every request
def preferred_type(accept: str, offered: tuple[str, ...]) -> str | None:
    """The media type of `offered` that `accept` weighs most, the first of equal ones; None where it wants none."""
    weights = _weights(accept) or {ANYTHING: 1.0}

    def weight(media_type: str) -> float:
        main, _, _ = media_type.partition("/")
        for pattern in (media_type, f"{main}/*", ANYTHING):  # the closest match decides
            if pattern in weights:
                return weights[pattern]
        return 0.0

    best = max(offered, key=weight)
    return best if weight(best) > 0 else None
