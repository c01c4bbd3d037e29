"""The keys that a request carries, and which of ours they are."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping

from service.errors import Unauthorized

SEALED_S = 3600


class Keys:
    """Raises `Unauthorized` for who lacks the key. The admin key opens whatever the API key does."""

    def __init__(self, api: str | None, admin: str | None) -> None:
        self._api = api.encode() if api else None
        self._admin = admin.encode() if admin else None
        # Slow to make, so that who has a link cannot try keys until one fits it.
        self._sealing = hashlib.scrypt(self._api, salt=b"digit-service link", n=2**14, r=8, p=1) if self._api else b""
        self.wanted = self._api is not None
        self.has_admin = self._admin is not None

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        if self.wanted and not _is_one_of(given := _given(headers), (self._api, self._admin)):
            raise _unauthorized("an API key", given)

    def sealed(self, path: str) -> str:
        """The path as a link that opens it, and nothing else, for an hour: a browser that follows one sends no key."""
        if self._api is None:
            return path
        until = str(int(time.time()) + SEALED_S)
        return f"{path}?until={until}&seal={self._seal(path, until)}"

    def is_sealed(self, path: str, query: Mapping[str, str]) -> bool:
        """Whether this is such a link, of no more than an hour ago."""
        until, seal = query.get("until", ""), query.get("seal", "")
        if not hmac.compare_digest(seal.encode(), self._seal(path, until).encode()):
            return False
        return time.time() < int(until)

    def _seal(self, path: str, until: str) -> str:
        return hmac.digest(self._sealing, f"{path}?{until}".encode(), "sha256").hex()

    def check_admin(self, headers: Mapping[bytes, bytes]) -> None:
        if not _is_one_of(given := _given(headers), (self._admin,)):
            raise _unauthorized("the admin key here", given)


def _given(headers: Mapping[bytes, bytes]) -> bytes:
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")


def _is_one_of(given: bytes, keys: tuple[bytes | None, ...]) -> bool:
    return any([key is not None and hmac.compare_digest(given, key) for key in keys])  # noqa: C419 - all, always


def _unauthorized(wanted: str, given: bytes) -> Unauthorized:
    came = "another one" if given else "none"
    return Unauthorized(
        f"This service wants {wanted} and the request has {came}. "
        "Send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'."
    )
