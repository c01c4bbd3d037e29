"""Strokes -> 28 x 28 as MNIST was made: 20 x 20 box, aspect kept, centre of mass in the middle, soft edges."""

from __future__ import annotations

import mahotas
import numpy as np
import numpy.typing as npt
from PIL import Image

from service.imaging.background import InkMap
from service.imaging.grey import GreyImage

SIDE = 28
BOX = 20
CENTRE = 14  # the centre of mass of all 70,000 MNIST digits lies within half a pixel of index 14 on both axes
FINE = 6  # fine pixels a final pixel: strokes are measured and redrawn on a box of 120 x 120
THINNEST, THICKEST = 2.4, 3.6  # px at 28 x 28: MNIST's mean strokes are 1.9 to 2.6 wide (quartiles), 3.8 at most (99 %)


def stroke_width(inside: npt.NDArray[np.bool_]) -> float:
    """Mean stroke width in px: twice the mean distance from the strokes' middle lines to their edges."""
    return _width_of(_depth(inside))


def _depth(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """How far inside each pixel lies, 0 outside, with a frame of one pixel more."""
    depth: npt.NDArray[np.float64] = np.sqrt(mahotas.distance(np.pad(inside, 1)))
    return depth


def _width_of(depth: npt.NDArray[np.float64]) -> float:
    ridge = depth > 0
    for axis in (0, 1):
        for step in (1, -1):
            ridge &= depth >= np.roll(depth, step, axis)
    return 2 * float(depth[ridge].mean()) - 0.5 if ridge.any() else 1.0


def fit(strokes: InkMap) -> GreyImage:
    """`strokes` (height, width), 0..1 with the edge at 0.5, about 120 px on the longer side -> uint8 (28, 28)."""
    inside = strokes > 0.5
    scale = BOX / max(inside.shape)
    depth = _depth(inside)
    width = _width_of(depth) * scale
    wanted = min(max(width, THINNEST), THICKEST)
    grow = (wanted - width) / 2 / scale
    if abs(grow) > 0.3:
        pad = int(np.ceil(max(grow, 0))) + 1
        away = np.sqrt(mahotas.distance(~np.pad(inside, pad))) - np.pad(depth, pad - 1)
        strokes = np.clip(grow + 0.5 - away + 0.5 * np.sign(away), 0, 1).astype(np.float32)
    return centred(boxed(strokes))


def boxed(ink: InkMap) -> InkMap:
    """Cut to the ink and averaged down until the longer side is 20 px; the darkest pixel becomes 1."""
    ys, xs = np.nonzero(ink.max(1) > 0.4)[0], np.nonzero(ink.max(0) > 0.4)[0]
    if ys.size == 0:
        return np.zeros((1, 1), np.float32)
    crop = ink[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    scale = BOX / max(crop.shape)
    size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
    small = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.BOX))
    return np.clip(small / max(float(small.max()), 1e-6), 0, 1)


def centred(small: InkMap) -> GreyImage:
    """Placed in 28 x 28 so that the centre of mass falls on index 14, as near as whole pixels allow (LeCun 1998)."""
    height, width = small.shape
    mass = max(float(small.sum()), 1e-6)
    down = CENTRE - float((small.sum(1) * np.arange(height)).sum()) / mass
    right = CENTRE - float((small.sum(0) * np.arange(width)).sum()) / mass
    top, left = min(max(round(down), 0), SIDE - height), min(max(round(right), 0), SIDE - width)
    frame = np.zeros((SIDE, SIDE), np.uint8)
    frame[top : top + height, left : left + width] = np.rint(small * 255)
    return frame
