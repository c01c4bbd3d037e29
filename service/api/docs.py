"""`/docs` without an address outside the service: Swagger UI from files that a package carries."""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Response
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
ONE_DAY = {"cache-control": "max-age=86400"}


def docs_routes(title: str) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="openapi.json",
            title=title,
            swagger_js_url="docs/swagger-ui-bundle.js",
            swagger_css_url="docs/swagger-ui.css",
            swagger_favicon_url="docs/favicon-32x32.png",
        )

    @router.get("/docs/{name}")
    def asset(name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404)
        content = (resources.files("fastapi_swagger.resources") / name).read_bytes()
        return Response(content, media_type=ASSETS[name], headers=ONE_DAY)

    return router
