"""`/reports`: the pages that `digits report` wrote about the models, for who follows a link of the models view."""

from __future__ import annotations

from pathlib import Path

from fastapi.staticfiles import StaticFiles

from service.inference.version import ModelVersion

REPORTS = "/reports"
PAGE = "index.html"


def report_path(folder: Path, version: ModelVersion) -> str | None:
    """The path of a version's report on this service, if there is one."""
    name = f"{version.name}-{version.version}"
    return f"{REPORTS}/{name}/{PAGE}" if (folder / name / PAGE).is_file() else None


def report_files(folder: Path) -> StaticFiles:
    """What lies in the folder, which may be made later."""
    return StaticFiles(directory=folder, html=True, check_dir=False)
