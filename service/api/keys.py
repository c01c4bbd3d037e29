"""The keys that a request carries, and which of ours they are."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from service.errors import Unauthorized


class Keys:
    """Raises `Unauthorized` for who lacks the key. The admin key opens whatever the API key does."""

    def __init__(self, api: str | None, admin: str | None) -> None:
        self._api = api.encode() if api else None
        self._admin = admin.encode() if admin else None
        self.wanted = self._api is not None
        self.has_admin = self._admin is not None

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        if self.wanted and not _is_one_of(given := _given(headers), (self._api, self._admin)):
            raise _unauthorized("an API key", given)

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
