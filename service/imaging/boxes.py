"""Form boxes: a thin outline around the digit is taken out, and what lies beyond it; the strokes inside stay."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from service.imaging.labels import Labels, Mask

Profile = npt.NDArray[np.intp]  # for each line across a side, how far in its first pixel lies

LEAST_SIDE = 16  # px
LEAST = 0.25  # of the frame's shorter side: a smaller outline is a zero's, or a doodle's
STRAIGHT = 0.02  # of the box's other side: how far a side may stray from a straight line
MOST_STRAY = 0.15  # of a side's length that may stray further: corners, gaps, strokes that cross it
STEEPEST = 0.1  # 6 degrees
THICKEST = 0.08  # of the box's shorter side
TALLEST = 0.12  # of the box's height: ink inside that is not as tall is no digit


def without_box(mask: Mask, labels: Labels) -> tuple[Mask, bool]:
    """`mask` (height, width) without a rectangular outline and all that lies outside it, and whether there was one.

    `labels` are the mask's marks.
    """
    if labels.count == 0:
        return mask, False
    heights, widths = labels.boxes[:, 1] - labels.boxes[:, 0], labels.boxes[:, 3] - labels.boxes[:, 2]
    largest = 1 + int((heights * widths)[1:].argmax())
    if min(heights[largest], widths[largest]) < max(LEAST_SIDE, LEAST * min(mask.shape)):
        return mask, False
    top, bottom, left, right = labels.boxes[largest]
    inside = _inside(labels.plane[top:bottom, left:right] == largest)
    if inside is None:
        return mask, False
    cleaned = np.zeros_like(mask)
    cleaned[top:bottom, left:right] = mask[top:bottom, left:right] & inside
    rows = np.flatnonzero(cleaned.any(1))
    if rows.size == 0 or rows[-1] - rows[0] < TALLEST * (bottom - top):
        return mask, False
    return cleaned, True


def _inside(outline: Mask) -> Mask | None:
    """The part of a mark's bounding box within its lines, where these are four nearly straight, thin sides."""
    inside = np.ones_like(outline)
    thickest = max(3, round(THICKEST * min(outline.shape)))
    # Each side in turn is made the upper one.
    for turns in range(4):
        turned, within = np.rot90(outline, turns), np.rot90(inside, turns)
        line = _side(turned)
        if line is None:
            return None
        rows = np.arange(len(turned))[:, None]
        depth = np.minimum(line, len(turned) - 1)[None]
        reach = rows - depth
        lying = turned & (reach >= -2) & (reach <= 2 * thickest)
        thickness = float(np.median(lying.sum(0)[lying.any(0)]))
        if thickness > thickest:
            return None
        within &= reach > thickness + max(2, 0.012 * len(turned))
    return inside


def _side(mark: Mask) -> Profile | None:
    """How deep the mark's upper side lies in each column, as a straight line; None where it is none."""
    height, width = mark.shape
    some = np.flatnonzero(mark.any(0))
    depth = mark.argmax(0)[some]
    third = max(1, width // 3)
    left, right = depth[some < third], depth[some >= width - third]
    if some.size < (1 - MOST_STRAY) * width or left.size == 0 or right.size == 0:
        return None
    slope = (float(np.median(right)) - float(np.median(left))) / (width - third)
    offset = float(np.median(depth - slope * some))
    stray = np.abs(depth - slope * some - offset) > max(2, STRAIGHT * height)
    if abs(slope) > STEEPEST or offset > 0.5 * height or stray.mean() > MOST_STRAY:
        return None
    line: Profile = np.rint(offset + slope * np.arange(width)).astype(np.intp)
    return line
