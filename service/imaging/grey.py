"""An opened file -> grey pixels 0..255: bit depth, colour, transparency. Polarity stays as it came."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image

GreyImage = npt.NDArray[np.uint8]  # (height, width), 0..255

DEEP_MODES = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
ALPHA_MODES = {"LA", "PA", "La", "RGBA", "RGBa"}
STRIP_PIXELS = 1 << 18  # deep pixels are scaled this many at a time: 2 MB of float64, what a cache holds
ONE_COLOUR = 24  # grey levels: opaque pixels that differ less than this carry no picture, so the alpha channel does
DULL = 64  # grey levels of contrast under which a single colour channel may show the ink better


def to_grey(image: Image.Image, longest_side: int | None) -> tuple[GreyImage, list[str]]:
    """Decode `image` and return (height, width) uint8 and the steps taken.

    Where `longest_side` is given, larger pictures are averaged down to between it and half of it.
    """
    factor = 1 if longest_side is None else max(image.size) // longest_side
    steps = [f"reduced_{factor}x"] if factor > 1 else []
    if image.mode in DEEP_MODES:
        pixels, step = _from_deep(image)
        return _reduced(Image.fromarray(pixels), factor), [*steps, step]
    if image.mode in ALPHA_MODES or "transparency" in image.info:
        rgba = _shrunk(image if image.mode in {"LA", "RGBA"} else image.convert("RGBA"), factor)
        pixels, transparency_steps = _from_alpha(rgba)
        return pixels, steps + transparency_steps
    if image.mode == "L":
        return _reduced(image, factor), steps
    if image.mode == "1":
        return _reduced(image.convert("L"), factor), steps
    colour = _shrunk(image if image.mode == "RGB" else image.convert("RGB"), factor)
    return _from_rgb(colour), [*steps, f"converted_from_{STEP_NAMES.get(image.mode, image.mode.lower())}"]


STEP_NAMES = {"P": "palette", "CMYK": "cmyk", "RGB": "rgb"}


def _shrunk(image: Image.Image, factor: int) -> Image.Image:
    # A picture one pixel high cannot be reduced along that side.
    return image.reduce((min(factor, image.width), min(factor, image.height))) if factor > 1 else image


def _reduced(image: Image.Image, factor: int) -> GreyImage:
    return np.asarray(_shrunk(image, factor))


def _from_deep(image: Image.Image) -> tuple[GreyImage, str]:
    """16-bit, 32-bit and float pixels. Pillow's own conversion to 8 bits clips them at 255.

    Whole numbers are scaled from the smallest depth (8, 12, 16 bits) that holds them; floats from 0..1 where they fit,
    and anything else from its own range. In strips of rows: beside Pillow's own it takes two bytes a pixel.
    """
    ranges = [(kind, float(strip.min()), float(strip.max())) for kind, _, strip in _strips(image)]
    low, high = min(low for _, low, _ in ranges), max(high for _, _, high in ranges)
    depth = None
    if ranges[0][0] == "f":
        bounds = (0.0, 1.0) if low >= 0 and high <= 1 else (0.0, 255.0) if low >= 0 and high <= 255 else (low, high)
        step = "scaled_from_float"
    else:
        depth = next((depth for depth in (8, 12, 16) if high < 1 << depth), None) if low >= 0 else None
        bounds = (0.0, float((1 << depth) - 1)) if depth else (low, high)
        step = f"scaled_from_{depth or 32}_bit"
    table = _scaled(np.arange(1 << depth), bounds) if depth else None
    pixels = np.empty((image.height, image.width), np.uint8)
    for _, rows, strip in _strips(image):
        pixels[rows] = _scaled(strip, bounds) if table is None else table[strip]
    return pixels, step


def _strips(image: Image.Image) -> Iterator[tuple[str, slice, npt.NDArray[Any]]]:
    """Kind of number, rows, and their values, finite and within 1e30, in strips of about `STRIP_PIXELS`."""
    count = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, count):
        bottom = min(top + count, image.height)
        values = np.asarray(image.crop((0, top, image.width, bottom)))
        if values.dtype.kind == "f":
            with np.errstate(invalid="ignore"):  # a signalling NaN warns when it is looked at
                values = np.where(np.isfinite(values), values, 0).clip(-1e30, 1e30)
        yield values.dtype.kind, slice(top, bottom), values


def _scaled(values: npt.NDArray[Any], bounds: tuple[float, float]) -> GreyImage:
    scaled = (values.astype(np.float64) - bounds[0]) * (255 / max(bounds[1] - bounds[0], 1e-12))
    return cast("GreyImage", np.rint(scaled.clip(0, 255)).astype(np.uint8))


def _from_rgb(image: Image.Image) -> GreyImage:
    """Luma (ITU-R BT.601), or the one channel that shows far more: yellow on white differs in blue alone."""
    luma = np.asarray(image.convert("L"))
    if _contrast(luma) < DULL:
        channels = [np.asarray(channel) for channel in image.split()]
        best = max(channels, key=_contrast)
        if _contrast(best) > 2 * _contrast(luma):
            return best
    return luma


def _contrast(pixels: GreyImage) -> int:
    low, high = np.percentile(pixels[:: max(1, pixels.shape[0] // 256), :: max(1, pixels.shape[1] // 256)], (0.2, 99.8))
    return int(high - low)


def _from_alpha(image: Image.Image) -> tuple[GreyImage, list[str]]:
    """Grey from a picture with an alpha channel: the alpha itself where it alone draws, else flattened."""
    alpha = np.asarray(image.getchannel("A"))
    luma = np.asarray(image.convert("L")) if image.mode == "LA" else _from_rgb(image.convert("RGB"))
    if alpha.min() == 255 or alpha.max() == 0:  # all opaque; or all clear, where only the colours can be meant
        return luma, []
    opaque = luma[alpha >= min(128, int(alpha.max()))]
    low, high = np.percentile(opaque, (2, 98))
    if high - low < ONE_COLOUR:
        return alpha, ["alpha_as_ink"]
    # A page with clear corners is continued by its own paper; a cut-out digit goes on what it stands out from.
    paper = float(np.median(opaque)) if opaque.size > alpha.size // 2 else (0.0 if opaque.mean() > 127 else 255.0)
    share = alpha.astype(np.float32) / 255
    return np.rint(luma * share + paper * (1 - share)).astype(np.uint8), ["alpha_flattened"]
