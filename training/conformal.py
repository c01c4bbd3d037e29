"""Split conformal prediction: thresholds that keep the true digit in the set as often as was asked, hardly more often.

Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; sets by least probability as in Sadinle, Lei
and Wasserman, arXiv:1609.00451. On average over draws of calibrating digits, what was asked is kept by one half of them
and missed by the other; here it is kept by `CONFIDENCE` of them (Vovk, arXiv:1209.2673, proposition 2).

A network that is right in 0.997 covers 0.9 only by answering some digits with the empty set: here those that look least
like digits, and not, as with the probability alone, those between two digits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Probabilities = npt.NDArray[np.floating]  # (n, 10)
Scores = npt.NDArray[np.floating]  # (n,), 0..1: how little each looks like a digit
Labels = npt.NDArray[np.integer]  # (n,)

COVERAGES = (
    0.5,
    0.6,
    0.7,
    0.8,
    0.85,
    0.9,
    0.925,
    0.95,
    0.96,
    0.97,
    0.98,
    0.985,
    0.99,
    0.9925,
    0.995,
    0.9975,
    0.999,
    0.9995,
)
REPORTED = (0.9, 0.95, 0.99, 0.999)
CONFIDENCE = 0.9  # that what is asked for is kept, over the draw of the images that calibrate
PLACES = 1e-7  # what the service tells of a probability


def calibrate(probabilities: Probabilities, scores: Scores | None, labels: Labels) -> dict[str, Any]:
    """The card's `conformal` from digits that no fit saw: thresholds for each coverage that so many can vouch for.

    A digit's nonconformity is how large a share of these images looks at least as much like a digit as its picture
    does, and, where it is not the likeliest one, how large a share has a true digit at least as probable as it.
    """
    from scipy.stats import binom  # here: whoever only reads sets, as benchmarks.verdicts does, need not have it

    n = len(labels)
    true = probabilities[np.arange(n), labels]
    shares = _shares(-true)
    nonconformity = np.where(probabilities.argmax(axis=1) == labels, 0.0, shares)
    if scores is not None:
        nonconformity = np.maximum(nonconformity, _shares(scores))
    ranked = np.sort(nonconformity)
    levels = []
    for coverage in COVERAGES:
        place = int(binom.ppf(CONFIDENCE, n, coverage)) + 1
        if place > n:
            break
        kept = round(ranked[place - 1] * n)  # of the images, those within this nonconformity
        level = {"coverage": coverage, "least_probability": _least(true, kept)}
        if scores is not None:
            level["largest_score"] = float(np.sort(scores)[kept - 1]) + PLACES if kept else 0.0
        levels.append(level)
    return {"method": "split conformal", "confidence": CONFIDENCE, "images": n, "levels": levels}


def _shares(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """For each value, the share of all that are not larger."""
    return np.searchsorted(np.sort(values), values, side="right") / len(values)


def _least(true: npt.NDArray[np.floating], kept: int) -> float:
    return max(0.0, float(-np.sort(-true)[kept - 1]) - PLACES) if kept else 1.0


def sets(
    conformal: dict[str, Any], coverage: float, probabilities: Probabilities, scores: Scores | None
) -> npt.NDArray[np.bool_]:
    """Which digits (n, 10) are in each image's set at one of `COVERAGES`: what the service answers."""
    level = next((level for level in conformal["levels"] if level["coverage"] >= coverage), None)
    if level is None:
        return np.ones(probabilities.shape, bool)
    inside: npt.NDArray[np.bool_] = probabilities >= level["least_probability"]
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    if scores is not None and "largest_score" in level:
        inside[scores > level["largest_score"]] = False
    return inside


def measure(
    conformal: dict[str, Any], probabilities: Probabilities, scores: Scores | None, labels: Labels
) -> list[dict[str, float]]:
    """For each reported coverage, how often the true digit is in the set, and the sets' mean size and empty share."""
    rows = []
    for coverage in REPORTED:
        inside = sets(conformal, coverage, probabilities, scores)
        size = inside.sum(axis=1)
        covered = inside[np.arange(len(labels)), labels]
        rows.append(
            {
                "coverage": coverage,
                "covered": float(covered.mean()),
                "mean_size": float(size.mean()),
                "empty": float((size == 0).mean()),
            }
        )
    return rows
