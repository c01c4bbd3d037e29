"""Images to predictions: asks a model's micro-batcher, reads its probabilities and judges what they are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from service.errors import NotReady, ServiceError
from service.imaging.normalise import Normalised
from service.inference.batching import MicroBatcher
from service.inference.verdict import REFUSED, RIVAL, Reason, Verdict, is_ambiguous, refusal
from service.inference.version import ModelVersion
from service.inference.waiting import Answer, Done, Waiter


class Prediction(Struct, frozen=True):
    """What one network says of one image: ten probabilities, index = digit. `digit` is None where there is none.

    `out_of_distribution_score` is None from a network that gives none.
    """

    digit: int | None
    confidence: float
    probabilities: list[float]
    verdict: Verdict
    reason: Reason | None
    out_of_distribution_score: float | None


class Predictions(Struct, frozen=True):
    """One prediction an image, in order; the longest wait and the summed run times of their micro-batches."""

    model: ModelVersion
    rows: list[Prediction]
    queue_s: float
    infer_s: float


async def predict(model: ModelVersion, images: Sequence[Normalised], timeout_s: float) -> Predictions:
    """Predictions for images; more than a micro-batch holds are spread over several.

    Raises:
        Overloaded, DeadlineExceeded, NotReady, InferenceFailed: see `MicroBatcher.submit`.
    """
    first = images[0].pixels
    # Along rows first: `np.stack` takes twice the time.
    stacked = np.concatenate([image.pixels for image in images]).reshape(-1, *first.shape)
    return read(model, images, await _batcher(model).submit((stacked,), timeout_s))


def ask(model: ModelVersion, image: Normalised, timeout_s: float, done: Done) -> Waiter:
    """`predict` for one image and for who is no coroutine: `done` gets the outcome on the event loop, for `read`.

    Raises:
        Overloaded, NotReady: see `MicroBatcher.ask`.
    """
    return _batcher(model).ask((image.pixels[np.newaxis],), timeout_s, done)


def _batcher(model: ModelVersion) -> MicroBatcher:
    if model.batcher is None:
        raise NotReady(f"Model {model.name} is not loaded.")
    return model.batcher


def read(model: ModelVersion, images: Sequence[Normalised], outcome: Answer | ServiceError) -> Predictions:
    """The predictions in what the micro-batcher told; raises the error that it may be."""
    if isinstance(outcome, ServiceError):
        raise outcome
    rows = read_rows(outcome.told(), images)
    if model.predictions is not None:
        confidences = model.predictions.confidences
        for row in rows:
            confidences[row.digit].append(row.confidence)
    return Predictions(model, rows, outcome.queue_s, outcome.infer_s)


def read_rows(told: Sequence[list[float]], images: Sequence[Normalised]) -> list[Prediction]:
    """Predictions for images from the last output of `ModelVersion.run`, (n, 10), or (n, 11) with the score."""
    return [_judged(row, image) for row, image in zip(told, images, strict=True)]


def _judged(row: list[float], image: Normalised) -> Prediction:
    score = row.pop() if len(row) > 10 else None
    most = max(row)
    # Hardly a picture needs a closer look, and this is done for every one.
    if (image.warnings or (score is not None and score > REFUSED)) and (reason := refusal(image, score)) is not None:
        return Prediction(None, most, row, "not_a_digit", reason, score)
    if most <= 1 - RIVAL and is_ambiguous(row):
        return Prediction(row.index(most), most, row, "uncertain", "ambiguous", score)
    return Prediction(row.index(most), most, row, "digit", None, score)


def ranking(prediction: Prediction) -> list[tuple[int, float]]:
    """Digits with their probabilities, likeliest first; equal ones by digit."""
    return sorted(enumerate(prediction.probabilities), key=lambda pair: (-pair[1], pair[0]))


def entropy(prediction: Prediction) -> float:
    """Shannon entropy of the distribution, in nats."""
    return -sum(p * math.log(p) for p in prediction.probabilities if p > 0) + 0.0
