"""Imports point one way; the rules are those of docs/architecture.md."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

SOURCES = sorted([*ROOT.glob("service/**/*.py"), *ROOT.glob("training/**/*.py")])


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{node.module}"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(*packages: str) -> set[str]:
    """Source files that import one of these packages, or a part of it."""
    return {
        str(path.relative_to(ROOT))
        for path in SOURCES
        if any(name == package or name.startswith(package + ".") for name in imports(path) for package in packages)
    }


def test_there_is_something_to_guard() -> None:
    assert len(SOURCES) > 20


def test_only_the_runtime_imports_onnxruntime() -> None:
    online = {name for name in importers("onnxruntime") if name.startswith("service/")}
    assert online == {"service/inference/runtime.py"}


def test_only_app_and_api_import_the_web_framework() -> None:
    found = importers("fastapi", "starlette")
    assert found
    assert all(name == "service/app.py" or name.startswith("service/api/") for name in found)


def test_the_service_knows_nothing_of_training() -> None:
    heavy = importers("keras", "tensorflow", "tf2onnx", "onnx", "sklearn", "matplotlib", "jax")
    assert not {name for name in heavy if name.startswith("service/")}
    # the command line is where both halves meet
    online = {name for name in importers("training") if name.startswith("service/")}
    assert online
    assert all(name.startswith("service/cli/") for name in online)


def test_training_uses_only_imaging_and_the_runtime_of_the_service() -> None:
    allowed = ("service.imaging", "service.inference.runtime", "service.errors")
    for path in SOURCES:
        if path.is_relative_to(ROOT / "training"):
            names = {name for name in imports(path) if name.startswith("service.")}
            assert all(name.startswith(allowed) for name in names), path


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("service/imaging", ("service.api", "service.inference", "service.app", "service.settings")),
        ("service/inference", ("service.api", "service.app", "service.settings")),
        ("service/api", ("service.app", "service.server", "service.cli")),
        ("service/api/v2", ("service.app", "service.server", "service.cli")),
    ],
)
def test_imports_point_inwards(folder: str, forbidden: tuple[str, ...]) -> None:
    for path in (ROOT / folder).glob("*.py"):
        assert not [name for name in imports(path) if name.startswith(forbidden)], path


def test_errors_know_no_http() -> None:
    assert set(imports(ROOT / "service/errors.py")) <= {
        "__future__",
        "__future__.annotations",
        "typing",
        "typing.ClassVar",
    }
