"""What `/docs` loads beside the page's files: Swagger UI from a package, so without an address outside the service."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
PATHS = frozenset(f"/docs/{name}".encode() for name in ASSETS)
ONE_DAY = {"cache-control": "max-age=86400"}


def docs_routes() -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/docs/{name}")
    def asset(name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404)
        content = (resources.files("fastapi_swagger.resources") / name).read_bytes()
        return Response(content, media_type=ASSETS[name], headers=ONE_DAY)

    return router
