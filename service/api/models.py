"""`/models`: what is loaded, with what it was trained and on what it runs."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Response

from service.api.keys import Keys
from service.api.openapi import answers
from service.api.reports import report_path
from service.api.schemas import ModelInfo, ModelList, VersionInfo, encode
from service.inference.repository import Repository
from service.inference.version import ModelVersion


def model_routes(repository: Repository, default_model: str, reports: Path, keys: Keys) -> APIRouter:
    router = APIRouter(tags=["models"])

    def report(version: ModelVersion) -> str | None:
        path = report_path(reports, version)
        return path and keys.sealed(path)

    def info(name: str) -> ModelInfo:
        versions = repository.model_versions(name)
        return ModelInfo(
            name=name,
            default=name == default_model,
            ready=repository.has_ready(name),
            labels=versions[0].labels,
            versions=[_version(version, report(version)) for version in versions],
        )

    @router.get("/models", summary="What is loaded", responses=answers(ModelList, "unauthorized", "internal"))
    async def models() -> Response:
        return _json(ModelList([info(name) for name in repository.model_names()]))

    @router.get(
        "/models/{name}",
        summary="One model",
        responses=answers(ModelInfo, "unauthorized", "model_not_found", "internal"),
    )
    async def model(name: str) -> Response:
        return _json(info(name))

    return router


def _version(version: ModelVersion, report: str | None) -> VersionInfo:
    card = version.card.everything
    return VersionInfo(
        version=version.version,
        state=version.state,
        reason=version.reason,
        provider=version.session.provider if version.session is not None else None,
        test_accuracy=card.get("metrics", {}).get("test_accuracy"),
        calibration=card.get("calibration"),
        sha256=version.sha256,
        trained_at=card.get("trained_at"),
        max_batch_size=version.max_batch_size,
        report=report,
        card={key: value for key, value in card.items() if key != "golden"},
    )


def _json(answer: ModelInfo | ModelList) -> Response:
    return Response(encode(answer), media_type="application/json")
