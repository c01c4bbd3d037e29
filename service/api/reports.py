"""`/reports`: the pages that `digits report` wrote about the models, for who follows a link of the models view."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from fastapi import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from service.inference.version import ModelVersion

REPORTS = "/reports"
PAGE = "index.html"


def report_path(folder: Path, version: ModelVersion) -> str | None:
    """The path of a version's report on this service, if there is one."""
    name = f"{version.name}-{version.version}"
    return f"{REPORTS}/{name}/{PAGE}" if (folder / name / PAGE).is_file() else None


def report_files(folder: Path) -> StaticFiles:
    """What lies in the folder, which may be made later."""
    return _Files(directory=folder, html=True, check_dir=False)


class _Files(StaticFiles):
    """Starlette's fail at each request while the folder is not there; in no folder nothing is found."""

    async def check_config(self) -> None:
        try:
            await super().check_config()
        except RuntimeError:
            raise HTTPException(404) from None

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        if scope["method"] != "GET":
            raise HTTPException(405, headers={"Allow": "GET"})
        return await super().get_response(path, scope)
