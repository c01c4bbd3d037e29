"""Joins the parts: settings, repository, routes, edge. The only place that knows them all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import FastAPI, Request, Response
from pydantic import SecretStr
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service import __version__
from service.api import docs, openapi
from service.api.bodies import Budget, Disconnected
from service.api.edge import Edge
from service.api.framework import on_disconnect, on_error, on_http_error, response
from service.api.health import LIVE, READY, health_routes
from service.api.keys import Keys
from service.api.metrics import metrics_routes
from service.api.models import model_routes
from service.api.predict import DigitRoutes
from service.api.reading import Reader
from service.api.reply import Handler, Hot, Inbound, Receive, Reply, Scope, Send
from service.api.reports import REPORTS, report_files
from service.api.schemas import BatchAnswer, ConfidenceAnswer, PredictAnswer, SaliencyAnswer
from service.api.v2.infer import Inference
from service.api.v2.messages import InferAnswer
from service.api.v2.routes import ProtocolRoutes
from service.api.web import Page
from service.counters import Counters
from service.errors import ServiceError
from service.inference.board import Board
from service.inference.reload import Reloader
from service.inference.repository import Repository
from service.inference.runtime import available_cpus, check_installation
from service.lifespan import lifespan
from service.logs import AccessLog
from service.metrics import Metrics
from service.sampling import Sampler
from service.settings import Settings, read_settings
from service.tracing import Tracing


class DigitService(FastAPI):
    """The application. Requests enter at its edge; `draining` is set once it should no longer be called ready."""

    budget: Budget
    edge: Edge
    repository: Repository
    reloader: Reloader
    settings: Settings
    draining: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.edge(scope, receive, _one_line_failures(send) if scope["type"] == "lifespan" else send)

    async def framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        """FastAPI itself, behind the edge."""
        await super().__call__(scope, receive, send)


def create_app(settings: Settings | None = None) -> DigitService:
    """The service for these settings (by default the environment's). Models load when its lifespan starts.

    Raises:
        StartupError: a setting out of its range, no usable ONNX Runtime, or traces without OpenTelemetry.
    """
    settings = settings or read_settings()
    check_installation()
    threads = settings.threads or max(1, available_cpus() // worker_count(settings))
    board = Board.of_the_workers()
    metrics = Metrics(Counters(board.folder))
    repository = _repository(settings, metrics, threads)
    reloader = Reloader(repository, board, poll_s=settings.repository_poll_s, retire_after_s=settings.request_timeout_s)
    sampler = Sampler(metrics, repository)
    tracing = Tracing() if settings.traces else None
    access_log = AccessLog(enabled=settings.access_log, log_format=settings.log_format, every=settings.access_log_every)
    workers = ThreadPoolExecutor(max(2, threads), thread_name_prefix="digits")
    app = _without_routes(lifespan(settings, reloader, sampler, tracing, access_log, workers))
    app.repository, app.reloader, app.settings = repository, reloader, settings
    keys = Keys(_secret(settings.api_key), _secret(settings.admin_key))
    page = Page()
    hot = _add_routes(app, sampler, Reader(settings, workers), keys, page)
    openapi.describe(app, with_key=settings.api_key is not None)
    app.edge = Edge(
        app.framework,
        hot,
        keys=keys,
        open_paths=page.paths | docs.PATHS | {LIVE.encode(), READY.encode(), b"/v2/health/live", b"/v2/health/ready"},
        access_log=access_log,
        max_requests=settings.max_queue_size,
        metrics=metrics,
        tracing=tracing,
    )
    return app


def _without_routes(lifespan: Any) -> DigitService:
    return DigitService(
        title="digit-service",
        version=__version__,
        description="Reads handwritten digits. Every answer carries X-Request-ID; errors are problem+json (RFC 9457), "
        'below /v2 the protocol\'s `{"error": ...}`.',
        lifespan=lifespan,
        docs_url=None,  # ours needs no address outside
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            ServiceError: on_error,
            HTTPException: on_http_error,
            Disconnected: on_disconnect,
            ClientDisconnect: on_disconnect,
            Exception: on_error,
        },
    )


def _repository(settings: Settings, metrics: Metrics, threads: int) -> Repository:
    return Repository(
        settings.model_repository,
        mirrors=settings.mirror,
        device=settings.device,
        threads=threads,
        default_model=settings.default_model,
        default_is_asked_for="default_model" in settings.model_fields_set,
        required=settings.required_models,
        max_batch_size=settings.max_batch_size,
        versions_kept=settings.versions_kept,
        metrics=metrics,
    )


def _add_routes(app: DigitService, sampler: Sampler, reader: Reader, keys: Keys, page: Page) -> dict[bytes, Hot]:
    """Every route; those that the edge answers without the framework are returned, too."""
    settings, repository = app.settings, app.repository
    app.budget = budget = Budget(settings.max_pending_bytes)
    hot = _hot_routes(app, DigitRoutes(repository, settings, reader, budget), settings.max_batch_images)
    _add_inference(app, hot, Inference(repository, settings, reader, budget))
    app.include_router(ProtocolRoutes(app.reloader, keys, sampler, draining=lambda: app.draining).router())
    app.include_router(model_routes(repository, settings.default_model, settings.reports, keys))
    app.mount(REPORTS, report_files(settings.reports))
    app.include_router(health_routes(repository, lambda: app.draining))
    app.include_router(metrics_routes(sampler))
    app.include_router(docs.docs_routes())
    app.include_router(page.routes())
    return hot


def _hot_routes(app: DigitService, routes: DigitRoutes, max_images: int) -> dict[bytes, Hot]:
    """Give each hot route to the edge, and to FastAPI for its documentation and for odd spellings of its path."""
    hot: dict[bytes, Hot] = {}

    def add(path: str, how: Hot, answer: type[Any], summary: str, extra: dict[str, Any]) -> None:
        hot[path.encode()] = how
        app.add_api_route(
            path,
            _framework_endpoint(app, how.handler),
            methods=["POST"],
            tags=["digits"],
            summary=summary,
            operation_id=how.handler.__name__,
            responses=openapi.answers(answer, *openapi.BODY_ERRORS),
            openapi_extra=extra,
        )

    one, many, looked = openapi.one_picture(), openapi.many_pictures(max_images), openapi.one_picture(sets=False)
    add("/predict", Hot(routes.predict, routes.predict_at_once), PredictAnswer, "The digit in one picture", one)
    add("/predict/batch", Hot(routes.predict_batch), BatchAnswer, "The digits in several pictures", many)
    add("/confidence", Hot(routes.confidence), ConfidenceAnswer, "How sure, and why", one | openapi.CHARTS)
    add("/saliency", Hot(routes.saliency), SaliencyAnswer, "Where the network looked", looked)
    return hot


def _add_inference(app: DigitService, hot: dict[bytes, Hot], inference: Inference) -> None:
    """The infer routes: a path is hot from its first request on, since only requests tell which models are asked."""

    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        async def handler(inbound: Inbound) -> Reply:
            return await inference.infer(inbound, name, version)

        app.repository.find(name, version)  # raises where there is none
        inbound: Inbound = request.scope["inbound"]
        if inbound.raw_path == request.scope["path"].encode():  # not one of its endless percent-encoded spellings
            hot.setdefault(inbound.raw_path, Hot(handler))
            app.edge.routes[inbound.raw_path] = request.scope["route"].path
        return await _admitted(app, handler, inbound)

    for path in ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):
        app.add_api_route(
            path,
            infer,
            methods=["POST"],
            tags=["Open Inference Protocol v2"],
            summary="Ask a model",
            responses=openapi.protocol_answers(InferAnswer, *openapi.BODY_ERRORS, "unsupported"),
            openapi_extra=openapi.inference(),
        )


def _secret(key: SecretStr | None) -> str | None:
    return key.get_secret_value() if key else None


def _framework_endpoint(app: DigitService, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await _admitted(app, handler, request.scope["inbound"])

    return endpoint


async def _admitted(app: DigitService, handler: Handler, inbound: Inbound) -> Response:
    """What a hot handler answers behind the framework: odd spellings of a path are bounded like all others."""
    app.edge.take_place()
    try:
        return response(await handler(inbound))
    finally:
        app.edge.leave()


def _one_line_failures(send: Send) -> Send:
    """A start-up error says all in its last line; the traceback that Starlette puts before it helps nobody."""

    async def send_in_one_line(message: Any) -> None:
        if message["type"] == "lifespan.startup.failed" and "service.errors.StartupError: " in message["message"]:
            message["message"] = message["message"].rpartition("service.errors.StartupError: ")[2].strip()
        await send(message)

    return send_in_one_line


def worker_count(settings: Settings) -> int:
    """How many processes share the CPUs."""
    return settings.workers or available_cpus()
