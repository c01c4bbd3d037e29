"""MNIST's convention: light ink on black, a box of 20 x 20 px, its centre of mass in the middle of 28 x 28.

All 70,000 MNIST digits have black around a box of 19 or 20 px, a peak of 254 or 255, a mean of 6 to 102, and their
centre of mass within half a pixel of index 14.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from service.imaging.fit import BOX, CENTRE, SIDE
from service.imaging.grey import GreyImage

KEPT = "already_mnist"
AREA = SIDE * SIDE
WORDS = SIDE // 4
LIGHTEST, HEAVIEST = 5 * AREA, 110 * AREA  # the sum of all grey levels
FAINTEST_PEAK = 200
OFF_CENTRE = 0.55  # px
MOMENTS = np.array([np.ones(AREA), *np.indices((SIDE, SIDE)).reshape(2, -1)], np.float32)


def place(pixels: GreyImage) -> tuple[GreyImage, tuple[str, ...]] | None:
    """The pixels as they are, inverted or moved, whichever keeps the convention, with the steps; None if none does."""
    if pixels.shape != (SIDE, SIDE):
        return None
    if (placed := _placed(pixels)) is not None:
        return placed[0], (placed[1],)
    if (placed := _placed(255 - pixels)) is not None:
        return placed[0], ("inverted", placed[1])
    return None


def keep(pictures: Sequence[GreyImage]) -> list[bool]:
    """Which of n (28, 28) keep it as they are: `place` for many at once, in a fifth of its time for 64 of them."""
    pixels = np.concatenate(pictures).reshape(-1, AREA)
    mass, down, across = MOMENTS @ pixels.astype(np.float32).T
    # Four pixels in a word, and word by word instead of picture by picture: steps through values that lie together.
    words = np.ascontiguousarray(pixels.view(np.uint32).T).reshape(SIDE, WORDS, -1)
    rows, columns = np.bitwise_or.reduce(words, axis=1), np.bitwise_or.reduce(words, axis=0)
    columns = columns.view(np.uint8).reshape(WORDS, -1, 4).swapaxes(1, 2).reshape(SIDE, -1)
    centred = _is_centred(down, across, np.maximum(mass, 1))
    kept: list[bool] = (centred & _is_digit(mass, _length(rows), _length(columns), pixels.max(axis=1))).tolist()
    return kept


def _length(lines: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.integer]:
    """From the first to the last of (28, n) lines that are not all black, 0; 28 where all are."""
    ink = lines > 0
    length: npt.NDArray[np.integer] = SIDE - ink.argmax(axis=0) - ink[::-1].argmax(axis=0)
    return length


def _placed(pixels: GreyImage) -> tuple[GreyImage, str] | None:
    """The pixels where they keep the convention, or would after a move; else None."""
    # Bytes tell the box, and one product mass and moments: a third of the time that array methods take on 784 pixels.
    mass, down, across = MOMENTS.dot(pixels.reshape(-1).astype(np.float32)).tolist()
    rows = pixels.tobytes()
    (top, bottom), (left, right) = _extent(rows), _extent(pixels.T.tobytes())
    peak = 255 if b"\xff" in rows or b"\xfe" in rows else pixels.max()
    if not _is_digit(mass, bottom - top, right - left, peak):
        return None
    if _is_centred(down, across, mass):
        return pixels, KEPT
    top_to = min(max(top + round(CENTRE - down / mass), 0), SIDE - bottom + top)
    left_to = min(max(left + round(CENTRE - across / mass), 0), SIDE - right + left)
    moved = np.zeros_like(pixels)
    moved[top_to : top_to + bottom - top, left_to : left_to + right - left] = pixels[top:bottom, left:right]
    return moved, "centred"


def _extent(lines: bytes) -> tuple[int, int]:
    """The first line of 28 bytes that is not all black, and the one after the last such line."""
    return (AREA - len(lines.lstrip(b"\0"))) // SIDE, (len(lines.rstrip(b"\0")) - 1) // SIDE + 1


def _is_digit(mass: Any, height: Any, width: Any, peak: Any) -> Any:
    """Of one picture or, as arrays, of many."""
    inside = (height <= BOX) & (width <= BOX) & ((height >= BOX - 1) | (width >= BOX - 1))
    return inside & (mass > LIGHTEST) & (mass < HEAVIEST) & (peak >= FAINTEST_PEAK)


def _is_centred(down: Any, across: Any, mass: Any) -> Any:
    return (abs(CENTRE - down / mass) < OFF_CENTRE) & (abs(CENTRE - across / mass) < OFF_CENTRE)
