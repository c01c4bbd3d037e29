"""The measurement of verdicts from outside, on a small service whose network finds bright pictures odd."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import strokes
from live import serving
from networks import write_judging_model

from benchmarks.verdicts import Service, digits_table
from training.data import Digits

LEVELS = [{"coverage": c, "least_probability": 0.0, "largest_score": 1.0} for c in (0.9, 0.95, 0.99, 0.999)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    root: Path = tmp_path_factory.mktemp("models")
    write_judging_model(root / "cnn" / "1")
    (root / "cnn" / "1" / "model.json").write_text(json.dumps({"conformal": {"levels": LEVELS}}))
    with serving(root) as running, httpx.Client(base_url=running.url, timeout=60) as client:
        yield Service(client, "cnn")


def test_digits_are_counted_by_verdict_and_coverage(service: Service) -> None:
    bright = np.full((28, 28), 255, np.uint8)
    bright[::2] = 100
    images = np.stack([*(strokes(n) for n in range(9)), bright])
    lines, scores = digits_table(service, Digits(images, np.zeros(10, np.uint8)))
    assert "| not_a_digit | 10.00 |" in lines
    assert "| 0.999 | 1.0000 | 10.0000 | 0.0000 |" in lines
    assert scores[-1] > 0.5 > scores[:9].max()


def test_more_pictures_than_a_request_takes_are_asked_in_turn(service: Service) -> None:
    answers = service.ask([strokes(n) for n in range(401)], coverage=0.9)
    assert len(answers) == 401
    assert all("prediction_set" in answer for answer in answers)
