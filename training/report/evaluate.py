"""`digits evaluate`: figures of a published network on test digits, as text while they are measured, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from training.data import Digits, load
from training.report.measures import Coverage, Measures, coverage, measure
from training.report.network import open_network
from training.report.robustness import Row, measure_robustness

ROBUSTNESS_LIMIT = 1000  # images of each change: a few minutes, and a standard error of 0.003


def evaluate(
    models: Path,
    name: str,
    version: str | None = None,
    data: Path | None = None,
    limit: int | None = None,
    *,
    robustness: bool = False,
    as_json: bool = False,
) -> Iterator[str]:
    """Lines to print. `data` is None for MNIST through Keras; `limit` takes so many test images, evenly spread.

    Raises:
        TrainingError: no such model or data.
    """
    network = open_network(models, name, version)
    dataset = load(data)
    digits = spread(dataset.test, limit or (ROBUSTNESS_LIMIT if robustness else None))
    about = {"model_name": network.name, "model_version": network.version, "data": dataset.source}
    title = f"{network.name} {network.version} on {len(digits)} test images of {dataset.source}"
    if robustness:
        rows = measure_robustness(network, digits)
        if as_json:
            yield json.dumps(about | {"robustness": [row.plain() for row in rows]}, indent=1)
        else:
            yield from (title, *robustness_head())
            yield from map(robustness_line, rows)
        return
    answers = network.answer(digits.images)
    measures, sets = measure(answers.probabilities, digits.labels), coverage(network, answers, digits.labels)
    if as_json:
        facts = measures.plain() | {"prediction_sets": [row._asdict() for row in sets]}
        yield json.dumps(about | facts, indent=1)
    else:
        yield from (title, *measure_lines(measures), *coverage_lines(sets))


def spread(digits: Digits, limit: int | None) -> Digits:
    """`limit` digits at even distances: MNIST's first test images are of other writers than its last."""
    if limit is None or limit >= len(digits):
        return digits
    return digits.take(np.linspace(0, len(digits), limit, endpoint=False, dtype=np.int64))


def measure_lines(measures: Measures) -> Iterator[str]:
    yield f"accuracy {measures.accuracy:.4f}"
    yield f"negative log-likelihood {measures.loss:.4f}"
    yield f"expected calibration error {measures.expected_calibration_error:.4f} (15 equal-mass bins)"
    yield f"R2 {measures.r2:.4f} (digits taken for numbers)"
    yield ""
    yield "digit  precision  recall      F1  images"
    for digit in measures.classes:
        yield f"{digit.digit:5}  {digit.precision:9.4f}  {digit.recall:.4f}  {digit.f1:.4f}  {digit.images:6}"


def coverage_lines(rows: list[Coverage]) -> Iterator[str]:
    yield ""
    if not rows:
        yield "The card has no thresholds for prediction sets."
        return
    yield "prediction sets: coverage  measured  95 % by chance   mean size   empty"
    for row in rows:
        chance = f"{row.least:.4f} to {row.most:.4f}"
        yield f"{row.wanted:25.3f}  {row.covered:8.4f}  {chance}  {row.mean_size:9.3f}  {row.empty:6.4f}"


def robustness_head() -> list[str]:
    return ["", f"{'change':16} {'by':16} accuracy  standard error"]


def robustness_line(row: Row) -> str:
    return f"{row.condition.name:16} {row.condition.severity:16} {row.accuracy:8.4f}  {row.standard_error:14.4f}"
