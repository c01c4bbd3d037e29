"""Ruled and squared paper: straight thin lines from edge to edge are taken out, strokes that cross them stay."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.imaging.labels import Mask

STEEPEST = 0.09  # 5 degrees: paper lies a little askew
SLOPES = np.linspace(-STEEPEST, STEEPEST, 37)
FULL = 0.6  # of the frame's width: how much of a row a line covers at least, where it is not quite straight
MOSTLY = 0.5  # of a line's pixels have no ink on either side
THICKEST = 0.035  # of the frame's height


def without_rules(mask: Mask) -> tuple[Mask, bool]:
    """`mask` (height, width) without lines across or down it, and whether there were any."""
    cleaned, across = _without_lines_across(mask)
    turned, down = _without_lines_across(cleaned.T)
    return turned.T, across or down


def _without_lines_across(mask: Mask) -> tuple[Mask, bool]:
    height, width = mask.shape
    if mask.any(0).mean() < 0.9:
        return mask, False
    ys, xs = np.nonzero(mask)
    slope, cover = _best_slope(ys, xs, mask.shape)
    lines, thickness = _thin_runs(cover > FULL, max(4, round(THICKEST * height)))
    if not lines.any():
        return mask, False
    # A line that is not quite straight spills into the rows beside it.
    spilt = np.convolve(lines, np.ones(5), "same").astype(bool) & np.convolve(cover > 0.25, np.ones(3), "same").astype(
        bool
    )
    on = spilt[_rows(ys, xs, slope, mask.shape)]
    columns = np.unique(xs[on])
    if columns[0] > 2 or columns[-1] < width - 3 or columns.size < 0.8 * width:
        return mask, False  # a digit's own bar ends inside the frame
    reach = thickness + 2
    crossed = mask[np.maximum(ys - reach, 0), xs] | mask[np.minimum(ys + reach, height - 1), xs]
    taken = on & ~crossed
    if taken.sum() < MOSTLY * on.sum():
        return mask, False  # a thick stroke along the frame
    cleaned = mask.copy()
    cleaned[ys[taken], xs[taken]] = False
    return (cleaned, True) if cleaned.any() else (mask, False)


def _rows(
    ys: npt.NDArray[np.intp], xs: npt.NDArray[np.intp], slope: float, shape: tuple[int, ...]
) -> npt.NDArray[np.intp]:
    """The row in which each pixel meets the middle column when it moves along `slope`; never negative."""
    margin = round(STEEPEST * shape[1] / 2) + 1
    return np.rint(ys + slope * (xs - shape[1] / 2)).astype(np.intp) + margin


def _best_slope(
    ys: npt.NDArray[np.intp], xs: npt.NDArray[np.intp], shape: tuple[int, ...]
) -> tuple[float, npt.NDArray[np.float64]]:
    """The slope along which the ink gathers in full rows, and how full each row is, 0..1."""
    covers = [np.bincount(_rows(ys, xs, slope, shape), minlength=2 * shape[0]) / shape[1] for slope in SLOPES]
    best = int(np.argmax([np.maximum(cover - FULL, 0).sum() for cover in covers]))
    return float(SLOPES[best]), covers[best]


def _thin_runs(rows: npt.NDArray[np.bool_], thickest: int) -> tuple[npt.NDArray[np.bool_], int]:
    """The runs of at most `thickest` rows, and the longest of these: a digit's own bar is thicker than a ruled line."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rows, [False]]).astype(np.int8)))
    thin = np.zeros_like(rows)
    longest = 0
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start <= thickest:
            thin[start:end] = True
            longest = max(longest, int(end - start))
    return thin, longest
