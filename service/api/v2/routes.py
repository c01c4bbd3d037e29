"""The protocol's routes but inference: metadata, probes, the repository's index, load and unload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from service import __version__
from service.api.health import OPEN
from service.api.keys import Keys
from service.api.openapi import protocol_answers
from service.api.submitted import NO_JSON
from service.api.v2.messages import (
    IndexEntry,
    IndexRequest,
    LoadRequest,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
    StatisticsAnswer,
    TensorMetadata,
    encode,
)
from service.api.v2.statistics import statistics
from service.errors import InvalidValue, NotReady, TooLarge, Unsupported
from service.inference.reload import Reloader
from service.inference.tensors import UNSUPPORTED, TensorSpec
from service.inference.version import ModelVersion
from service.measures import merge
from service.sampling import Sampler

PLATFORM = "onnx_onnxv1"
EXTENSIONS = ["binary_tensor_data", "classification", "model_repository", "statistics"]
MAX_BYTES = 65_536  # of a body here
FOLLOW_S = 60.0  # how long a load call waits for the other workers
Endpoint = Callable[..., Any]


class ProtocolRoutes:
    """Handlers of `/v2`. `draining` tells whether the service stops being ready."""

    def __init__(self, reloader: Reloader, keys: Keys, sampler: Sampler, *, draining: Callable[[], bool]) -> None:
        self._reloader = reloader
        self._repository = reloader.repository
        self._keys = keys
        self._sampler = sampler
        self._draining = draining

    def router(self) -> APIRouter:
        router = APIRouter(tags=["Open Inference Protocol v2"])
        model = "/v2/models/{name}"
        version = model + "/versions/{version}"
        _get(router, ["/v2", "/v2/"], self.server, ServerMetadata, "What this server is", codes=("unauthorized",))
        _get(router, ["/v2/health/live"], self.live, ServerLive, "Is the process alive?", codes=(), **OPEN)
        _get(router, ["/v2/health/ready"], self.ready, ServerReady, "Will requests be answered?", codes=(), **OPEN)
        stats = ["/v2/models/stats", f"{model}/stats", f"{version}/stats"]
        _get(router, stats, self.statistics, StatisticsAnswer, "What models have done")
        _get(router, [model, version], self.model, ModelMetadata, "What a model takes and gives")
        ready = [f"{model}/ready", f"{version}/ready"]
        _get(router, ready, self.model_ready, ModelReady, "Does a model answer?", codes=("model_not_found",), **OPEN)
        index = protocol_answers(IndexEntry, "malformed_request", "unauthorized", "too_large", "internal", many=True)
        _post(router, "/v2/repository/index", self.index, index, "What the repository holds")
        changed = protocol_answers(
            None,
            *(
                "malformed_request",
                "unauthorized",
                "model_not_found",
                "too_large",
                "unsupported",
                "not_ready",
                "internal",
            ),
        )
        one = "/v2/repository/models/{name}"
        _post(router, f"{one}/load", self.load, changed, "Load a model in every worker")
        _post(router, f"{one}/unload", self.unload, changed, "Unload a model in every worker")
        return router

    async def server(self) -> Response:
        return _json(ServerMetadata("digit-service", __version__, EXTENSIONS))

    async def live(self) -> Response:
        return _json(ServerLive(live=True))

    async def ready(self) -> Response:
        ready = self._repository.is_ready and not self._draining()
        return _json(ServerReady(ready), 200 if ready else 503)

    async def model(self, name: str, version: str | None = None) -> Response:
        found = self._repository.find(name, version)
        versions = [one.version for one in reversed(self._repository.model_versions(name)) if one.answers]
        inputs, outputs = _told(found.inputs), _told(found.outputs)
        return _json(ModelMetadata(name, versions, PLATFORM, inputs, outputs))

    async def model_ready(self, name: str, version: str | None = None) -> Response:
        try:
            self._repository.find(name, version)
            ready = not self._draining()
        except NotReady:
            ready = False
        return _json(ModelReady(name, ready), 200 if ready else 503)

    async def statistics(self, name: str | None = None, version: str | None = None) -> Response:
        if version is not None:
            versions = [self._repository.find(name, version)]
        else:
            versions = list(self._repository.versions() if name is None else self._repository.model_versions(name))
        await self._sampler.all_shown()
        merged, _ = await asyncio.get_running_loop().run_in_executor(None, merge, self._sampler.counters)
        return _json(StatisticsAnswer(statistics(merged, [one for one in versions if one.answers])))

    async def index(self, request: Request) -> Response:
        asked = await _body(request, IndexRequest)
        found = [_entry(version) for version in self._repository.versions()]
        return _json([entry for entry in found if not asked.ready or entry.state == "READY"])

    async def load(self, request: Request, name: str) -> Response:
        self._check_admin(request)
        parameters = (await _body(request, LoadRequest)).parameters or {}
        if parameters:
            raise Unsupported(
                f"Loading with parameters ({', '.join(sorted(parameters))}): models come from the folder."
            )
        self._repository.disk.check_has(name)
        await self._change(load=name)
        newest = self._repository.model_versions(name)[0]
        if newest.state == "FAILED":
            on = self._repository.newest(name)
            still = f" Version {on.version} goes on answering." if on is not None else ""
            raise InvalidValue(f"Version {newest.version} of {name} cannot be served: {newest.reason}.{still}")
        return Response(status_code=200)

    async def unload(self, request: Request, name: str) -> Response:
        self._check_admin(request)
        self._repository.model_versions(name)
        await self._change(unload=name)
        return Response(status_code=200)

    async def _change(self, *, load: str | None = None, unload: str | None = None) -> None:
        if not await self._reloader.change(load=load, unload=unload, timeout_s=FOLLOW_S):
            raise NotReady(f"Not every worker has followed within {FOLLOW_S:g} s; they are still at it.")

    def _check_admin(self, request: Request) -> None:
        if not self._keys.has_admin:
            raise Unsupported(
                "This service loads and unloads by what is on disk. Calls need DIGITS_ADMIN_KEY to be set."
            )
        self._keys.check_admin({name.lower(): value for name, value in request.scope["headers"]})


def _get(
    router: APIRouter,
    paths: list[str],
    endpoint: Endpoint,
    answer: type[Any],
    summary: str,
    codes: tuple[str, ...] = ("unauthorized", "model_not_found", "not_ready"),
    **extra: Any,
) -> None:
    responses = protocol_answers(answer, *codes, "internal")
    if answer in (ServerReady, ModelReady):
        responses[503] = {**responses[200], "description": "Loading, failed, or draining"}
    for path in paths:
        router.add_api_route(path, endpoint, methods=["GET"], summary=summary, responses=responses, openapi_extra=extra)


def _post(router: APIRouter, path: str, endpoint: Endpoint, responses: dict[int | str, Any], summary: str) -> None:
    router.add_api_route(path, endpoint, methods=["POST"], summary=summary, responses=responses)


def _told(specs: tuple[TensorSpec, ...]) -> list[TensorMetadata]:
    return [TensorMetadata(one.name, one.datatype, list(one.shape)) for one in specs if one.datatype != UNSUPPORTED]


def _entry(version: ModelVersion) -> IndexEntry:
    return IndexEntry(version.name, version.version, version.state, version.reason or "")


async def _body(request: Request, kind: type[Any]) -> Any:
    """A small JSON object; an empty body is an empty one. Raises `InvalidValue`, `TooLarge`."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BYTES:
            raise TooLarge(f"The body may have {MAX_BYTES} bytes: models come from the folder, not with a request.")
    try:
        return msgspec.json.decode(content.strip() or b"{}", type=kind)
    except NO_JSON as error:
        raise InvalidValue(f"Expected a JSON object: {error}") from None


def _json(answer: Any, status: int = 200) -> Response:
    return Response(encode(answer), status, media_type="application/json")
