"""Who answers the command: the routes themselves in this process, or a running service. Both give the API's JSON."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Protocol, Self
from urllib.parse import urlencode, urlsplit

import msgspec

from service.api.bodies import Budget
from service.api.predict import DigitRoutes
from service.api.reading import Reader
from service.api.reply import Inbound
from service.errors import ServiceError, StartupError
from service.inference.repository import Repository
from service.inference.runtime import available_cpus, check_installation
from service.logs import configure_logs
from service.settings import Settings

ANY_IMAGE = "application/octet-stream"
MOST_TRIES = 10  # of a busy service
TIMEOUT_S = 60


class Refused(ServiceError):
    """A running service answered with a problem; `code` is that problem's."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code  # type: ignore[misc] # of this one, not of all


class Asker(Protocol):
    """Asks about one picture. `post` raises `ServiceError`, as a client of the API would be told."""

    def post(self, path: str, picture: bytes, query: Mapping[str, str]) -> Any: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_asker(url: str | None) -> Asker:
    """Asks the service at `url`, or without one answers here with the repository's models.

    Raises:
        StartupError: the models cannot be loaded, or nobody answers at `url`.
    """
    from service.settings import read_settings

    settings = read_settings()
    return InProcess(settings) if url is None else OverHttp(url, settings)


class InProcess:
    def __init__(self, settings: Settings) -> None:
        configure_logs("warning", "console")
        check_installation()
        self._repository = Repository(
            settings.model_repository,
            mirrors=settings.mirror,
            device=settings.device,
            threads=settings.threads or available_cpus(),
            default_model=settings.default_model,
            required=settings.required_models,
        )
        self._repository.load()
        self._executor = ThreadPoolExecutor(1)
        self._loop = asyncio.new_event_loop()
        reader = Reader(settings, self._executor)
        self._routes = DigitRoutes(self._repository, settings, reader, Budget(settings.max_pending_bytes))
        self._loop.run_until_complete(self._start(settings.max_queue_size))

    async def _start(self, max_queue_size: int) -> None:
        self._repository.start(max_queue_size=max_queue_size, inline_below_s=1.0)

    def post(self, path: str, picture: bytes, query: Mapping[str, str]) -> Any:
        handler = {"/predict": self._routes.predict, "/confidence": self._routes.confidence}[path]

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": picture, "more_body": False}

        headers = {b"content-type": ANY_IMAGE.encode(), b"content-length": b"%d" % len(picture)}
        request = Inbound("POST", path.encode(), urlencode(query).encode(), headers, receive)
        return msgspec.json.decode(self._loop.run_until_complete(handler(request)).body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._repository.close())
        self._executor.shutdown()
        self._loop.close()


class OverHttp:
    def __init__(self, url: str, settings: Settings) -> None:
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise StartupError(f"--url {url!r}: expected an address such as http://127.0.0.1:8000.")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._url, self._prefix = url, parts.path.rstrip("/")
        try:
            self._connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        except ValueError as error:
            raise StartupError(f"--url {url!r}: {error}.") from None
        self._headers: dict[str, str | bytes] = {"Accept": "application/json"}
        if settings.api_key is not None:
            self._headers["X-API-Key"] = settings.api_key.get_secret_value().encode()  # else Latin-1

    def post(self, path: str, picture: bytes, query: Mapping[str, str]) -> Any:
        return self._ask("POST", f"{path}?{urlencode(query)}", picture, self._headers | {"Content-Type": ANY_IMAGE})

    def get(self, path: str) -> Any:
        return self._ask("GET", path, None, self._headers)

    def _ask(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str | bytes]) -> Any:
        for _ in range(MOST_TRIES):
            try:
                self._connection.request(method, self._prefix + path, body, headers)
                response = self._connection.getresponse()
                answer = msgspec.json.decode(response.read())
            except (OSError, HTTPException) as error:
                self._connection.close()
                raise StartupError(f"The service at {self._url} does not answer: {error}.") from None
            except msgspec.DecodeError:
                raise StartupError(f"What answers at {self._url} is no digit-service.") from None
            if response.status < 400:
                return answer
            if response.status != 503:
                break
            time.sleep(float(response.headers.get("Retry-After", "1")))
        code, detail = answer.get("code", "unexpected"), answer.get("detail", f"It answered {response.status}.")
        raise Refused(code, detail)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
