"""Images to predictions: asks a model's micro-batcher and reads its probabilities."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from service.errors import NotReady
from service.imaging.grey import GreyImage
from service.inference.runtime import Tensor
from service.inference.version import ModelVersion


class Prediction(NamedTuple):
    """What one network says of one image: ten probabilities, index = digit."""

    digit: int
    confidence: float
    probabilities: list[float]


class Predictions(NamedTuple):
    """One prediction an image, in order; the longest wait and the summed run times of their micro-batches."""

    model: ModelVersion
    rows: list[Prediction]
    queue_s: float
    infer_s: float


async def predict(model: ModelVersion, images: list[GreyImage], timeout_s: float) -> Predictions:
    """Predictions for images of 28 x 28 uint8; more than a micro-batch holds are spread over several.

    Raises:
        Overloaded, DeadlineExceeded, NotReady, InferenceFailed: see `MicroBatcher.submit`.
    """
    if model.batcher is None:
        raise NotReady(f"Model {model.name} is not loaded.")
    stacked = images[0][np.newaxis] if len(images) == 1 else np.stack(images)
    answer = await model.batcher.submit((stacked,), timeout_s)
    return Predictions(model, read_rows(answer.outputs[-1]), answer.queue_s, answer.infer_s)


def read_rows(rounded: Tensor) -> list[Prediction]:
    """Predictions from the last output of `ModelVersion.run`, (n, 10)."""
    rows = rounded.tolist()
    return [Prediction(row.index(most), most, row) for row, most in zip(rows, map(max, rows), strict=True)]


def ranking(prediction: Prediction) -> list[tuple[int, float]]:
    """Digits with their probabilities, likeliest first; equal ones by digit."""
    return sorted(enumerate(prediction.probabilities), key=lambda pair: (-pair[1], pair[0]))


def entropy(prediction: Prediction) -> float:
    """Shannon entropy of the distribution, in nats."""
    return -sum(p * math.log(p) for p in prediction.probabilities if p > 0) + 0.0
