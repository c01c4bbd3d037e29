"""What a picture's probabilities are worth: a digit, a doubtful one or none, why, and which digits it may be."""

from __future__ import annotations

from typing import Literal

import numpy as np

from service.imaging.grey import GreyImage
from service.imaging.labels import labelled
from service.imaging.normalise import Normalised
from service.inference.card import Conformal

Verdict = Literal["digit", "uncertain", "not_a_digit"]
Reason = Literal["blank", "out_of_distribution", "ambiguous", "several_marks"]

REFUSED = 0.5  # an out_of_distribution_score above this is no digit's: networks are exported so
RIVAL = 0.05  # a second digit at least this likely makes the first one doubtful (docs/log.md)
INK = 100  # a pixel above this belongs to a mark
MARK_HEIGHT = 0.5  # of the ink's height: what is smaller may be a dot, an accent or a broken stroke
MARK_SHARE = 0.15  # of the ink


def refusal(image: Normalised, score: float | None) -> Reason | None:
    """Why a picture holds no digit; None where it may hold one. `score` is None from a network that gives none."""
    if "blank" in image.warnings:
        return "blank"
    if "several_marks" in image.warnings:
        return "several_marks"
    if score is not None and score > REFUSED:
        return "several_marks" if has_several_marks(image.pixels) else "out_of_distribution"
    return None


def has_several_marks(pixels: GreyImage) -> bool:
    """Whether 28 x 28 pixels hold two or more marks that stand apart, each nearly as tall or as wide as all the ink."""
    labels = labelled(pixels > INK)
    if labels.count < 2:
        return False
    boxes, sizes = labels.boxes[1:], labels.sizes[1:]
    heights, widths = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    whole = np.ptp(boxes[:, :2]), np.ptp(boxes[:, 2:])
    large = (heights >= MARK_HEIGHT * whole[0]) | (widths >= MARK_HEIGHT * whole[1])
    return bool((large & (sizes >= MARK_SHARE * sizes.sum())).sum() > 1)


def is_ambiguous(probabilities: list[float]) -> bool:
    """Whether a second digit is likely enough to be meant."""
    return sorted(probabilities)[-2] >= RIVAL


def prediction_set(
    probabilities: list[float], score: float | None, coverage: float, conformal: Conformal | None
) -> list[int]:
    """The digits a picture may hold, likeliest first: of pictures of digits, `coverage` have their own in the set.

    Where the card has thresholds (training.conformal) the set is empty for a picture that is less like a digit than
    `coverage` asks to follow. Without them it is the fewest digits whose probabilities sum to `coverage`, never none.
    """
    ranked = sorted(range(10), key=lambda digit: (-probabilities[digit], digit))
    if conformal is None:
        total, count = 0.0, 0
        while count < 10 and total < coverage:
            total += probabilities[ranked[count]]
            count += 1
        return ranked[:count]
    level = next((level for level in conformal.levels if level.coverage >= coverage), None)
    if level is None:  # more than the images that calibrated it can vouch for
        return ranked
    if score is not None and level.largest_score is not None and score > level.largest_score:
        return []
    return [
        digit for place, digit in enumerate(ranked) if place == 0 or probabilities[digit] >= level.least_probability
    ]
