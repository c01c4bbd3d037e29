"""The marks of a mask: pixels that touch, across corners too, with the size and the box of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import mahotas
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]  # (height, width)
Each = npt.NDArray[np.intp]  # (count + 1, ...): of each mark, by its number; the first row is of no mark

EIGHT = np.ones((3, 3), bool)  # a pixel's neighbours, across corners too


@dataclass(frozen=True)
class Labels:
    """Marks 1 to `count`, as `part` of a plane of this `shape` tells them: 0 no mark, else its number."""

    part: npt.NDArray[np.int32]
    count: int
    corner: tuple[int, int]  # row and column where the part begins
    shape: tuple[int, ...]

    @cached_property
    def plane(self) -> npt.NDArray[np.int32]:
        """(height, width): the number of each pixel's mark."""
        plane = np.zeros(self.shape, np.int32)
        top, left = self.corner
        height, width = self.part.shape
        plane[top : top + height, left : left + width] = self.part
        return plane

    @cached_property
    def sizes(self) -> Each:
        """In pixels; 0 for no mark."""
        sizes: Each = np.bincount(self.part.ravel(), minlength=self.count + 1)
        sizes[0] = 0
        return sizes

    @cached_property
    def boxes(self) -> Each:
        """Top, bottom, left, right, the ends exclusive."""
        top, left = self.corner
        boxes: Each = mahotas.labeled.bbox(self.part) + np.array([top, top, left, left])
        return boxes

    @cached_property
    def extents(self) -> Each:
        """The longer sides of the boxes; 0 for no mark."""
        boxes = self.boxes
        extents: Each = np.maximum(boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2])
        extents[0] = 0
        return extents

    def only(self, kept: npt.NDArray[np.bool_]) -> Labels:
        """The marks that are `kept` (count + 1,), numbered anew."""
        marks = kept.copy()
        marks[0] = False
        numbers = (np.cumsum(marks) * marks).astype(np.int32)
        return replace(self, part=numbers[self.part], count=int(marks.sum()))


def labelled(mask: Mask) -> Labels:
    """The marks of a mask, numbered by where they begin, row by row."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if rows.size == 0:
        return Labels(np.zeros((1, 1), np.int32), 0, (0, 0), mask.shape)
    # Labelling takes as long for bare ground as for ink.
    top, left = int(rows[0]), int(columns[0])
    part, count = mahotas.label(mask[top : rows[-1] + 1, left : columns[-1] + 1], EIGHT)
    return Labels(part, count, (top, left), mask.shape)
