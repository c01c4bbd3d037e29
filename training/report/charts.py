"""Charts of a report, in Okabe and Ito's colours, which colour-blind readers tell apart; lines differ in dashes too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from training.report.measures import Bin
from training.report.network import Probabilities, Scores
from training.report.robustness import Row

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8a8a8a"
WIDTH = 6.2  # inches; a phone shows it at about half that, so letters are large
TEXT = 11


def curves(history: Mapping[str, Sequence[float]], kept: int | None) -> Figure:
    """Loss and accuracy over epochs, on the training and the validation images; `kept` is the published epoch."""
    figure, axes = _axes(2, 1, height=6.0, sharex=True)
    for axis, metric in zip(axes, ("loss", "accuracy"), strict=True):
        for name, label, colour, dashes in (
            (metric, "training", BLUE, "-"),
            (f"val_{metric}", "validation", ORANGE, "--"),
        ):
            values = history.get(name, [])
            epochs = range(1, len(values) + 1)
            axis.plot(epochs, values, dashes, color=colour, label=label, marker="o" if len(values) < 12 else None)
        if kept:
            axis.axvline(kept, color=GREY, linewidth=1, linestyle=":", label="published")
        axis.set_ylabel(metric)
        axis.legend(frameon=False)
    axes[1].set_xlabel("epoch")
    axes[1].xaxis.get_major_locator().set_params(integer=True)
    return figure


def confusion(matrix: npt.NDArray[np.int64]) -> Figure:
    """Rows are labels, columns answers. Colour tells the errors alone: the diagonal would drown them."""
    figure, axis = _axes(1, 1, height=5.6)
    errors = np.where(np.eye(10, dtype=bool), 0, matrix)
    most = max(1, int(errors.max()))
    axis.imshow(np.where(errors, errors, np.nan), cmap="Oranges", vmin=-0.2 * most, vmax=most)
    for label, answer in zip(*np.nonzero(matrix), strict=True):
        count = int(matrix[label, answer])
        style = {"weight": "bold"} if label == answer else {"color": "white" if count > 0.6 * most else "black"}
        axis.text(answer, label, str(count), ha="center", va="center", fontsize=9, **style)
    axis.set_xticks(range(10))
    axis.set_yticks(range(10))
    axis.set_xticks(np.arange(0.5, 9), minor=True)
    axis.set_yticks(np.arange(0.5, 9), minor=True)
    axis.grid(visible=False)
    axis.grid(which="minor", color="#e4e4e4", linewidth=0.8)
    axis.set_xlabel("answer")
    axis.set_ylabel("label")
    axis.spines[:].set_visible(True)
    axis.tick_params(which="both", length=0)
    return figure


def reliability(bins: Sequence[Bin]) -> Figure:
    """How often answers of each confidence are right, with 95 % intervals; below, how many there are."""
    figure, (top, bottom) = _axes(2, 1, height=5.6, sharex=True, height_ratios=(3, 1))
    confidence, accuracy, images = (np.array(column, float) for column in zip(*bins, strict=True))
    low, high = _wilson(accuracy, images)
    top.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="as it should be")
    intervals = np.abs(np.stack([accuracy - low, high - accuracy]))
    top.errorbar(confidence, accuracy, intervals, fmt="o", color=BLUE, capsize=3, label="measured, 95 % interval")
    top.set_ylabel("share that is right")
    top.set_ylim(-0.03, 1.05)
    top.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    bottom.bar(confidence, images, width=0.04, color=BLUE)
    bottom.set_yscale("log")
    bottom.set_ylim(0.7, 5 * images.max())
    for x, count in zip(confidence, images, strict=True):
        bottom.text(x, 1.2 * count, f"{count:.0f}", ha="center", fontsize=8)
    bottom.set_yticks([])
    bottom.minorticks_off()
    bottom.set_ylabel("images")
    bottom.set_xlabel("confidence")
    bottom.set_xlim(-0.02, 1.04)
    return figure


def _wilson(share: npt.NDArray[np.float64], n: npt.NDArray[np.float64]) -> tuple[Any, Any]:
    """95 % interval of a binomial share, right where it is near 0 or 1 too: Wilson, JASA 1927."""
    z = 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return middle - half, middle + half


def severity(rows: Sequence[Row], names: Sequence[str]) -> Figure:
    """Accuracy against the size of the change, where a change was made in several sizes."""
    figure, axes = _axes(len(names), 1, height=2.7 * len(names), squeeze=False)
    base = next(row for row in rows if row.condition.name == "unchanged")
    for axis, name in zip(np.ravel(axes), names, strict=True):
        points = [row for row in rows if row.condition.name == name and row.condition.size is not None]
        sizes = [0.0, *(row.condition.size for row in points)]
        accuracy = np.array([row.accuracy for row in (base, *points)])
        margin = 1.96 * np.array([row.standard_error for row in (base, *points)])
        axis.errorbar(sizes, accuracy, margin, fmt="-o", color=BLUE, capsize=3)
        axis.set_ylabel("accuracy")
        axis.set_ylim(min(0.9, float((accuracy - margin).min()) - 0.03), 1.02)
        axis.set_xlabel(points[0].condition.unit)
    return figure


def histograms(scores: Mapping[str, Scores], digits: Sequence[str], label: str, *, threshold: bool) -> Figure:
    """Log odds of scores, a line for each family; `digits` should lie left of 0, all others right of it."""
    figure, axes = _axes(len(scores), 1, height=0.45 * len(scores) + 0.9, sharex=True, squeeze=False)
    odds = {family: _log_odds(values) for family, values in scores.items()}
    low, high = np.quantile(np.concatenate(list(odds.values())), (0.001, 0.999)) + np.array((-0.5, 0.5))
    for axis, (family, values) in zip(np.ravel(axes), odds.items(), strict=True):
        axis.hist(np.clip(values, low, high), bins=60, range=(low, high), color=BLUE if family in digits else ORANGE)
        if threshold:
            axis.axvline(0, color="black", linewidth=1, linestyle="--")
        axis.set_ylabel(family, rotation=0, ha="right", va="center", fontsize=TEXT)
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        axis.grid(visible=False)
    axes[-1, 0].set_xlabel(label)
    return figure


def _log_odds(scores: Scores) -> npt.NDArray[np.float64]:
    values = np.clip(scores.astype(np.float64), 1e-7, 1 - 1e-7)  # float32 knows nothing nearer to 1
    result: npt.NDArray[np.float64] = np.log(values / (1 - values))
    return result


def answer(image: npt.NDArray[np.uint8], probabilities: Probabilities) -> Figure:
    """One picture beside its ten probabilities."""
    figure, (left, right) = _axes(1, 2, height=2.8, width_ratios=(1, 1.3))
    left.imshow(image, cmap="gray", vmin=0, vmax=255)
    left.axis("off")
    bars = right.barh(range(10), probabilities, color=BLUE)
    right.bar_label(bars, [f"{p:.0%}" if p >= 0.005 else "" for p in probabilities], fontsize=9, padding=2)
    right.grid(visible=False)
    right.set_yticks(range(10))
    right.invert_yaxis()
    right.set_xlim(0, 1.15)
    right.set_xticks([0, 0.5, 1])
    right.set_xlabel("probability")
    right.set_ylabel("digit")
    return figure


def _axes(rows: int, columns: int, height: float, **settings: Any) -> tuple[Figure, Any]:
    """A figure as wide as the page's text, with `rows` x `columns` axes in the report's style."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(rows, columns, **settings)
    for axis in np.ravel(axes):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=TEXT - 1)
        axis.grid(axis="y", color="#e4e4e4", linewidth=0.8)
        axis.set_axisbelow(True)
        axis.xaxis.label.set_size(TEXT)
        axis.yaxis.label.set_size(TEXT)
    return figure, axes
