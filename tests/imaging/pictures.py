"""Pictures that the imaging tests share, made in memory."""

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

LIMIT = 50_000_000  # px: what the service allows by default is about this


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def seven(height: int = 200, width: int = 160, pen: int = 12) -> npt.NDArray[np.uint8]:
    """A seven, light on black, upright: its bar is above, its stem leans, so that every turn of it differs."""
    image = Image.new("L", (width, height))
    stroke = [(0.25 * width, 0.2 * height), (0.75 * width, 0.2 * height), (0.45 * width, 0.8 * height)]
    ImageDraw.Draw(image).line(stroke, fill=255, width=pen, joint="curve")
    return np.asarray(image)


def likeness(left: npt.NDArray[np.uint8], right: npt.NDArray[np.uint8]) -> float:
    """Correlation of two pictures of one size, at best over moves of one pixel: 1 for the same drawing."""
    moves = [np.roll(left, (down, across), (0, 1)) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    return max(float(np.corrcoef(moved.ravel(), right.ravel())[0, 1]) for moved in moves)
