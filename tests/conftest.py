"""Fixtures that most tests share: a repository of small networks, the service around it, pictures."""

from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from live import NO_REPORTS, ROOT, Live, serving
from networks import write_linear_model, write_odd_networks
from PIL import Image
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import Settings


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with two linear networks, cnn and dense."""
    root = tmp_path_factory.mktemp("models")
    write_linear_model(root / "cnn" / "1", seed=1)
    write_linear_model(root / "dense" / "1", seed=2)
    return root


@pytest.fixture
def settings(models: Path) -> Callable[..., Settings]:
    """Settings around the small networks; keyword arguments on top."""

    def make(**changes: Any) -> Settings:
        defaults = {
            "model_repository": models,
            "reports": NO_REPORTS,
            "access_log": False,
            "device": "cpu",
            "threads": 1,
        }
        return Settings(**{**defaults, **changes})

    return make


@pytest.fixture
def in_process(settings: Callable[..., Settings]) -> Iterator[TestClient]:
    """The service with the small networks, in this process."""
    with TestClient(create_app(settings()), raise_server_exceptions=False) as running:
        yield running


@pytest.fixture(scope="session")
def all_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same two and networks that read no digits."""
    root = tmp_path_factory.mktemp("all_models")
    write_linear_model(root / "cnn" / "1", seed=1)
    write_linear_model(root / "dense" / "1", seed=2)
    write_odd_networks(root)
    return root


@pytest.fixture(scope="module")
def v2(all_models: Path) -> Iterator[TestClient]:
    """The service with all those, in this process."""
    settings = Settings(model_repository=all_models, access_log=False, device="cpu", threads=1, max_body_bytes=1 << 20)
    with TestClient(create_app(settings), raise_server_exceptions=False) as running:
        yield running


@pytest.fixture(scope="session")
def live(models: Path) -> Iterator[Live]:
    """The service with the small networks, in a process of its own."""
    with serving(models) as running:
        yield running


@pytest.fixture(params=["in process", "live"])
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """A client of the service: through plain ASGI, and through the protocol of `digits serve`."""
    if request.param == "in process":
        yield request.getfixturevalue("in_process")
    else:
        with httpx.Client(base_url=request.getfixturevalue("live").url, timeout=60) as remote:
            yield remote


__all__ = ["ROOT", "png", "strokes"]


def png(pixels: Any, **options: Any) -> bytes:
    """An encoded picture of these levels."""
    encoded = BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(encoded, "PNG", **options)
    return encoded.getvalue()


def strokes(seed: int = 0) -> np.ndarray:
    """28 x 28 uint8 in MNIST's convention: a thick bent line, another one for every seed."""
    rng = np.random.default_rng(seed)
    image = np.zeros((28, 28), np.uint8)
    row, column = 5.0, 14.0
    for _ in range(18):
        image[int(row) : int(row) + 2, int(column) : int(column) + 3] = rng.integers(150, 256)
        row, column = row + 1, float(np.clip(column + rng.normal(0, 1.2), 5, 20))
    return image
