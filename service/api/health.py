"""Probes: live says that the process answers, ready that requests will be. They need no key and no inference."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response

from service.api.openapi import answers
from service.api.schemas import Live, Ready, encode
from service.inference.repository import Repository

LIVE, READY = "/health/live", "/health/ready"
OPEN: dict[str, list[str]] = {"security": []}  # no key


def health_routes(repository: Repository, draining: Callable[[], bool]) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get(LIVE, summary="Is the process alive?", responses=answers(Live, "internal"), openapi_extra=OPEN)
    async def live() -> Response:
        return Response(encode(Live(live=True)), media_type="application/json")

    @router.get(
        READY,
        summary="Will requests be answered?",
        responses={
            **answers(Ready, "internal"),
            503: {**answers(Ready)[200], "description": "Loading, failed, or draining"},
        },
        openapi_extra=OPEN,
    )
    async def ready() -> Response:
        models = {name: repository.has_ready(name) for name in repository.required_models}
        answer = Ready(ready=repository.is_ready and not draining(), models=models)
        return Response(encode(answer), 200 if answer.ready else 503, media_type="application/json")

    return router
