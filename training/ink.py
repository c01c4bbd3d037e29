"""Redraws a digit's strokes, with a pen of any width, at any size: what `photos` and `bitmaps` put on their grounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import mahotas
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

GreyImage = npt.NDArray[np.uint8]  # (28, 28), light ink on black
Plane = npt.NDArray[np.float32]  # (height, width), 0..1: ink coverage or brightness
Renderer = Callable[[GreyImage, np.random.Generator], bytes]  # to an encoded picture
FIELD_SIDE = 160  # px: the longer side of a digit where its strokes are measured
MEAN_STROKE = 2.3  # px at 28 x 28: MNIST's mean stroke width


@dataclass(frozen=True, slots=True)
class Sheet:
    """How a digit lies on its ground. Lengths are shares of the frame's shorter side, `pen` of the digit's height."""

    frame: tuple[int, int]  # height, width in px
    size: float = 0.6
    pen: float | None = None  # stroke width; None keeps the writer's own
    drift: float = 0.15  # how far the digit may lie from the middle
    tilt: float = 6.0  # degrees, at most
    gap: float = 0.0  # probability that the stroke is broken


def ink_on_sheet(digit: GreyImage, rng: np.random.Generator, sheet: Sheet) -> Plane:
    """Coverage 0..1 of the sheet's frame by the digit's strokes, redrawn with the sheet's pen."""
    field = _stroke_field(digit, sheet.pen)
    height, width = sheet.frame
    scale = sheet.size * min(sheet.frame) / FIELD_SIDE
    angle = np.deg2rad(rng.uniform(-sheet.tilt, sheet.tilt))
    slant, stretch = rng.uniform(-0.12, 0.12), rng.uniform(0.9, 1.12)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.linalg.inv(turn @ np.array([[stretch, slant], [0.0, 1.0]]) * scale)
    middle = np.array([width, height]) * (0.5 + rng.uniform(-sheet.drift, sheet.drift, 2))
    shift = np.array(field.shape[::-1]) / 2 - matrix @ middle
    coefficients = (*matrix[0], shift[0], *matrix[1], shift[1])
    far = float(field.max())
    lifted = Image.fromarray(far - field)  # pixels outside the field come as 0, that is as far from the pen
    distance = far - np.asarray(
        lifted.transform((width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    )
    ink: Plane = np.clip(0.5 - distance * scale, 0, 1).astype(
        np.float32
    )  # one pixel of antialiasing at the stroke's edge
    return _broken(ink, rng) if rng.random() < sheet.gap else ink


def _stroke_field(digit: GreyImage, pen: float | None) -> Plane:
    """Signed distance to the stroke's edge in field pixels, negative inside, with room around it."""
    ys, xs = np.nonzero(digit.max(1))[0], np.nonzero(digit.max(0))[0]
    crop = Image.fromarray(np.pad(digit[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1], 3))
    scale = FIELD_SIDE / (max(crop.size) - 6)
    size = round(crop.width * scale), round(crop.height * scale)
    smooth = crop.resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(0.3 * scale))
    inside = np.asarray(smooth) > 110
    if pen is None:
        outer, inner = mahotas.distance(~inside), mahotas.distance(inside)
        signed: Plane = (np.sqrt(outer) - np.sqrt(inner)).astype(np.float32)
        return signed
    distance: Plane = np.sqrt(mahotas.distance(~_pruned(mahotas.thin(inside)))).astype(np.float32)
    # A pen runs smoother than the pixels of a skeleton.
    return blurred(distance, 1.5) - np.float32(max(pen * FIELD_SIDE / 2, 0.5))


def _pruned(skeleton: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Shorten every open end by half a stroke: thinning forks them, and no pen does."""
    frame = np.pad(skeleton, 1)
    flat = frame.reshape(-1)
    width = frame.shape[1]
    around = np.array([-width - 1, -width, 1 - width, 1, width + 1, width, width - 1, -1])  # a pixel's ring, in order
    line = np.flatnonzero(flat)
    for _ in range(round(MEAN_STROKE / 20 * FIELD_SIDE * 0.8)):
        ring = flat[line[:, None] + around]
        branches = (ring & ~np.roll(ring, 1, axis=1)).sum(1)  # runs of neighbours around a pixel: 1 at an open end
        if (branches > 1).sum() < FIELD_SIDE / 3:
            break
        flat[line[branches <= 1]] = False
        line = line[branches > 1]
    return frame[1:-1, 1:-1]


def _broken(ink: Plane, rng: np.random.Generator) -> Plane:
    """Lift the pen once: a clear band across the ink, a few per cent of its height."""
    ys, xs = np.nonzero(ink > 0.5)
    if ys.size == 0:
        return ink
    at = int(rng.integers(ys.size))
    angle = rng.uniform(0, np.pi)
    rows, columns = np.indices(ink.shape, dtype=np.float32)
    along = (rows - ys[at]) * np.cos(angle) + (columns - xs[at]) * np.sin(angle)
    away = np.hypot(rows - ys[at], columns - xs[at])
    reach = np.ptp(ys)
    return np.where((np.abs(along) < 0.025 * reach) & (away < 0.2 * reach), 0, ink)


def blurred(plane: Plane, radius: float) -> Plane:
    """Gaussian blur of any float plane; Pillow blurs 8-bit planes alone, so this one goes through its spectrum."""
    frequency_y, frequency_x = np.fft.fftfreq(plane.shape[0])[:, None], np.fft.rfftfreq(plane.shape[1])[None]
    gain = np.exp(-2 * (np.pi * radius) ** 2 * (frequency_y**2 + frequency_x**2))
    return np.fft.irfft2(np.fft.rfft2(plane) * gain, plane.shape).astype(np.float32)


def encoded(pixels: npt.NDArray[np.generic], kind: str, quality: int = 90) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": quality} if kind == "JPEG" else {}))
    return file.getvalue()


def grey_bytes(plane: Plane) -> npt.NDArray[np.uint8]:
    return np.rint(np.clip(plane, 0, 1) * 255).astype(np.uint8)
