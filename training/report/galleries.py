"""Pictures of digits and of weights, many in one figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from training.data import Digits, Pixels
from training.report.network import Probabilities

CELL = 0.72  # inches
Weights = npt.NDArray[np.float32]


def samples(digits: Digits, columns: int = 12, rows: int = 6) -> Figure:
    """Digits from all over the set with their labels."""
    chosen = np.linspace(0, len(digits), min(len(digits), columns * rows), endpoint=False, dtype=np.int64)
    return _grid(digits.images[chosen], [str(label) for label in digits.labels[chosen]], columns)


def right_answers(digits: Digits, probabilities: Probabilities, columns: int = 10) -> Figure:
    """Of each digit up to ten that are read rightly, from the least certain upwards in even steps."""
    answers = probabilities.argmax(axis=1)
    chosen: list[int] = []
    for digit in range(10):
        found = np.flatnonzero((answers == digits.labels) & (digits.labels == digit))
        ranked = found[np.argsort(probabilities[found, digit], kind="stable")]
        steps = np.linspace(0, len(ranked), min(columns, len(ranked)), endpoint=False, dtype=np.int64)
        chosen += ranked[steps].tolist()
    notes = [f"{answers[index]}: {_percent(probabilities[index].max())}" for index in chosen]
    return _grid(digits.images[chosen], notes, columns)


def wrong_answers(digits: Digits, probabilities: Probabilities, most: int = 10) -> Figure | None:
    """A line for each digit with up to `most` that are read wrongly, the surest first; None where there are none.

    Above each: the answer and its probability, then the label and its.
    """
    answers = probabilities.argmax(axis=1)
    lines: list[list[int]] = []
    for digit in range(10):
        found = np.flatnonzero((answers != digits.labels) & (digits.labels == digit))
        if len(found):
            lines.append(found[np.argsort(-probabilities[found].max(axis=1), kind="stable")][:most].tolist())
    if not lines:
        return None
    columns = max(6, *(len(line) for line in lines))
    images, notes = np.zeros((len(lines) * columns, 28, 28), np.uint8), [""] * (len(lines) * columns)
    for row, line in enumerate(lines):
        for column, index in enumerate(line):
            place, label, answer = row * columns + column, digits.labels[index], answers[index]
            images[place] = digits.images[index]
            notes[place] = (
                f"{answer}: {_percent(probabilities[index, answer])}\n{label}: {_percent(probabilities[index, label])}"
            )
    return _grid(images, notes, columns, lines=2)


def numbers(image: npt.NDArray[np.uint8]) -> Figure:
    """One digit as the numbers it is, in false colour."""
    figure = Figure(figsize=(9.4, 9.4), layout="constrained")
    axis = figure.subplots()
    axis.imshow(image, cmap="viridis", vmin=0, vmax=255)
    for row, column in np.ndindex(image.shape):
        level = int(image[row, column])
        axis.text(
            column, row, str(level), ha="center", va="center", fontsize=7, color="black" if level > 140 else "white"
        )
    axis.axis("off")
    return figure


def weights(kernels: Weights, columns: int = 8) -> Figure:
    """First-layer weights (n, height, width), one picture a unit; brown below 0, white 0, violet above.

    Each is scaled by its own largest weight.
    """
    rows = -(-len(kernels) // columns)
    figure = Figure(figsize=(columns * CELL, rows * CELL), layout="constrained")
    for axis, kernel in zip(_flat(figure, rows, columns), kernels, strict=False):
        most = float(np.abs(kernel).max()) or 1.0
        axis.imshow(kernel, cmap="PuOr", vmin=-most, vmax=most)
        axis.set_visible(True)
    return figure


def conditions(pictures: Sequence[tuple[str, npt.NDArray[np.uint8]]], columns: int = 6) -> Figure:
    """One digit after each change, as it is sent to the service."""
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(columns * 1.3, rows * 1.65), layout="constrained")
    for axis, (name, picture) in zip(_flat(figure, rows, columns), pictures, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axis.set_title(name, fontsize=9)
        axis.set_visible(True)
    return figure


def _grid(images: Pixels, notes: Sequence[str], columns: int, lines: int = 1) -> Figure:
    """Ink on white with a note above each; a note that is empty leaves its place empty."""
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(columns * CELL, rows * (CELL + 0.16 * lines)), layout="constrained")
    for axis, image, note in zip(_flat(figure, rows, columns), images, notes, strict=False):
        if note:
            axis.imshow(image, cmap="gray_r", vmin=0, vmax=255)
            axis.set_title(note, fontsize=8, pad=2)
            axis.set_visible(True)
    return figure


def _flat(figure: Figure, rows: int, columns: int) -> Any:
    axes = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        axis.spines[:].set_visible(False)
        axis.set_visible(False)
    return axes


def _percent(probability: float) -> str:
    if probability >= 0.9995:
        return "> 99.9%"
    return f"{probability:.0%}" if probability < 0.995 else f"{probability:.1%}"
