"""One temperature that makes a network's probabilities mean what they say, fitted on images that no fit saw.

Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks, ICML 2017; with a floor below every
probability, since some labels are wrong: without it those few images alone would ask for a higher temperature.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.floating]  # (n, 10)
LOWEST, HIGHEST = 0.05, 20.0
FLOOR = 1e-5  # of every probability: one label in 10,000 is anyone's guess (docs/log.md)


def fit_temperature(logits: Logits, labels: npt.NDArray[np.integer]) -> float:
    """The temperature whose `probabilities` have the least negative log-likelihood.

    Targets are (n + 1) / (n + 2), not 1, so that a few images that are all right do not ask for certainty: Platt 1999.
    """
    slack = 1 / (len(labels) + 2)
    targets = np.full(logits.shape, slack / 9)
    targets[np.arange(len(labels)), labels] = 1 - slack

    def loss(log_temperature: float) -> float:
        return float(-(targets * np.log(probabilities(logits, np.exp(log_temperature)))).sum(axis=1).mean())

    # The loss has one minimum in the temperature, so thirds of an interval can be dropped until it is found.
    low, high = np.log(LOWEST), np.log(HIGHEST)
    while high - low > 1e-5:
        left, right = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))


def probabilities(logits: Logits, temperature: float) -> npt.NDArray[np.float64]:
    """What is told: softmax(logits / temperature), mixed with so much of an even guess that none is below `FLOOR`."""
    result: npt.NDArray[np.float64] = (1 - logits.shape[1] * FLOOR) * np.exp(log_softmax(logits / temperature)) + FLOOR
    return result


def log_softmax(logits: Logits) -> npt.NDArray[np.float64]:
    """In double precision, row by row."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    result: npt.NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def expected_calibration_error(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over `bins` groups of equally many images, sorted by confidence.

    Naeini, Cooper and Hauskrecht, AAAI 2015; equal mass as in Nixon et al., arXiv:1904.01685.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    groups = np.array_split(np.argsort(confidence, kind="stable"), bins)
    gaps = [len(group) * abs(confidence[group].mean() - right[group].mean()) for group in groups if len(group)]
    return float(sum(gaps) / len(labels))
