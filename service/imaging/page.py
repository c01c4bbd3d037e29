"""Where the page lies in a photo that also shows the desk around it, or the canvas in a screenshot of a web page."""

from __future__ import annotations

import mahotas
import numpy as np

from service.imaging.background import COARSE_SIDE, histogram, shrunk, two_means
from service.imaging.grey import GreyImage
from service.imaging.labels import Mask

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the frame

CONTRAST = 0.5  # a desk is darker than this share of its page (or a page than its desk); a shadow is rarely as deep
FILLED = 0.86  # of its bounding box: a page is a rectangle, a little tilted at most


def find_page(pixels: GreyImage) -> Box | None:
    """The box inside a page that covers the middle and much of the frame, but not all; None where there is none."""
    coarse = shrunk(pixels, COARSE_SIDE)
    low, high = two_means(histogram(np.rint(coarse).astype(np.uint8)))
    if low > CONTRAST * high:
        return None
    light = coarse > (low + high) / 2
    for side in (light, ~light):
        if (box := _rectangle(side)) is not None:
            return box
    return None


def _rectangle(side: Mask) -> Box | None:
    labels, count = mahotas.label(side)
    if count == 0:
        return None
    sizes = mahotas.labeled.labeled_size(labels)
    sizes[0] = 0
    page = mahotas.close_holes(labels == sizes.argmax())
    height, width = page.shape
    top, bottom, left, right = mahotas.bbox(page)
    filled = page.sum() / max(1, (bottom - top) * (right - left))
    if not (
        0.3 < page.mean() < 0.985
        and filled > FILLED
        and page[height // 3 : -height // 3, width // 3 : -width // 3].all()
    ):
        return None
    rows = np.flatnonzero(page.sum(1) > 0.85 * (right - left))
    columns = np.flatnonzero(page.sum(0) > 0.85 * (bottom - top))
    if rows.size < 3 or columns.size < 3:
        return None
    # One coarse pixel in from every edge that is not the frame's: it is half page, half desk.
    top, bottom = rows[0] + (rows[0] > 0), rows[-1] + (rows[-1] == height - 1)
    left, right = columns[0] + (columns[0] > 0), columns[-1] + (columns[-1] == width - 1)
    return left / width, top / height, right / width, bottom / height
