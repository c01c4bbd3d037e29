"""Figures of probabilities against labels: accuracy, likelihood, calibration, each class, and prediction sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from training import conformal
from training.calibration import expected_calibration_error
from training.data import Labels
from training.report.network import Answers, Network, Probabilities

DIGITS = range(10)
LEAST = 1e-7  # what float32 rounds to 0 is not impossible


class ClassFigures(NamedTuple):
    """Of one digit: share of its answers that are right, share of its images that are found, their harmonic mean."""

    digit: int
    precision: float
    recall: float
    f1: float
    images: int


@dataclass(frozen=True)
class Measures:
    """`loss` is the negative log-likelihood in nats; `r2` takes digits for numbers, as document 004 does."""

    images: int
    accuracy: float
    loss: float
    expected_calibration_error: float
    r2: float
    classes: list[ClassFigures]
    confusion: npt.NDArray[np.int64]  # (10, 10): row = label, column = answer

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "images": self.images,
            "accuracy": self.accuracy,
            "loss": self.loss,
            "expected_calibration_error": self.expected_calibration_error,
            "r2": self.r2,
            "classes": [figures._asdict() for figures in self.classes],
            "confusion": self.confusion.tolist(),
        }


def measure(probabilities: Probabilities, labels: Labels) -> Measures:
    """All figures of n answers (n, 10) to images with these labels (n,)."""
    answers = probabilities.argmax(axis=1)
    columns = metrics.precision_recall_fscore_support(labels, answers, labels=DIGITS, zero_division=0.0)
    return Measures(
        images=len(labels),
        accuracy=float((answers == labels).mean()),
        loss=float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], LEAST)).mean()),
        expected_calibration_error=expected_calibration_error(probabilities, labels),
        r2=float(metrics.r2_score(labels.astype(float), answers.astype(float))) if len(labels) > 1 else float("nan"),
        classes=[
            ClassFigures(digit, float(precision), float(recall), float(f1), int(images))
            for digit, (precision, recall, f1, images) in enumerate(zip(*columns, strict=True))
        ],
        confusion=metrics.confusion_matrix(labels, answers, labels=DIGITS),
    )


class Coverage(NamedTuple):
    """Of prediction sets: how often the true digit should be and was in them, and what is left to chance (95 %)."""

    wanted: float
    covered: float
    least: float
    most: float
    mean_size: float
    empty: float


def coverage(network: Network, answers: Answers, labels: Labels) -> list[Coverage]:
    """A line for each coverage that is asked for; none where the card has no conformal thresholds."""
    found = network.card.get("conformal")
    if not found:
        return []
    rows = conformal.measure(found, answers.probabilities, answers.scores, labels)
    margins = [1.96 * (row["coverage"] * (1 - row["coverage"]) / len(labels)) ** 0.5 for row in rows]
    return [
        Coverage(
            row["coverage"],
            row["covered"],
            row["coverage"] - margin,
            min(1.0, row["coverage"] + margin),
            row["mean_size"],
            row["empty"],
        )
        for row, margin in zip(rows, margins, strict=True)
    ]


class Bin(NamedTuple):
    """Images of similar confidence: its mean, how often they are right, how many there are."""

    confidence: float
    accuracy: float
    images: int


def reliability(probabilities: Probabilities, labels: Labels, bins: int = 10) -> list[Bin]:
    """Points of a reliability diagram, groups of equally wide confidence: Niculescu-Mizil and Caruana, ICML 2005."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    group = np.minimum((confidence * bins).astype(int), bins - 1)
    masks = (group == place for place in range(bins))
    return [Bin(float(confidence[m].mean()), float(right[m].mean()), int(m.sum())) for m in masks if m.any()]
