"""Digits as collections and programs keep them: few pixels, tight boxes, stretched, black and white.

Postal services, Italian and American forms, and everybody's own "resize to 28 x 28".
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from training.ink import GreyImage, Plane, Renderer, Sheet, encoded, grey_bytes, ink_on_sheet

DRAWN_SIDE = 192  # px: how large a digit is drawn before it is made small


def _form(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """A box cut from a filled-in form, as NIST's: 128 x 128, black and white, anywhere in the frame."""
    ink = ink_on_sheet(digit, rng, Sheet((128, 128), rng.uniform(0.35, 0.75), rng.uniform(0.04, 0.14), tilt=12))
    return encoded(grey_bytes(1 - np.round(ink)), "PNG")


def _framed(side: int, *, inverted: bool = False, moved: int = 0) -> Renderer:
    """MNIST's own pixels, inverted, moved or scaled with their frame."""

    def draw(digit: GreyImage, rng: np.random.Generator) -> bytes:
        pixels = np.roll(digit, tuple(rng.integers(-moved, moved + 1, 2)), (0, 1)) if moved else digit
        pixels = 255 - pixels if inverted else pixels
        filter_ = Image.Resampling.BICUBIC if rng.random() < 0.7 else Image.Resampling.NEAREST
        return encoded(np.asarray(Image.fromarray(pixels).resize((side, side), filter_)), "PNG")

    return draw


def _squeezed(digit: GreyImage, rng: np.random.Generator) -> bytes:
    """Somebody's own "resize to 28 x 28" of a drawing: thin grey strokes, not centred."""
    sheet = Sheet((336, 336), rng.uniform(0.4, 0.85), rng.uniform(0.03, 0.14), drift=0.08)
    ink = ink_on_sheet(digit, rng, sheet)
    small = np.asarray(Image.fromarray(ink).resize((28, 28), Image.Resampling.BOX))
    return encoded(grey_bytes(small if rng.random() < 0.5 else 1 - small), "PNG")


def _small(side: int, *, stretch: tuple[float, float], binary: bool = False, levels: int = 255) -> Renderer:
    """A tight box of `side` x `side`; either polarity, sometimes with a margin, sometimes enlarged.

    `stretch` is the range of how far a digit is widened to fill the box: 0 keeps its proportions, 1 fills it.
    """

    def draw(digit: GreyImage, rng: np.random.Generator) -> bytes:
        pen = rng.uniform(0.05, 0.18) if rng.random() < 0.6 else None
        ink = ink_on_sheet(digit, rng, Sheet((DRAWN_SIDE, DRAWN_SIDE), 0.9, pen, drift=0.0, tilt=5))
        small = _in_box(ink, side, rng.uniform(*stretch))
        steps = np.round(small - rng.uniform(-0.2, 0.15)) if binary else np.round(small * levels) / levels
        plane = steps.astype(np.float32)
        plane = np.pad(np.clip(plane, 0, 1), int(rng.choice([0, 0, 1, 2, side // 4])))
        if rng.random() < 0.3:
            plane = np.kron(plane, np.ones((int(rng.integers(2, 9)),) * 2, np.float32))
        return encoded(grey_bytes(plane if rng.random() < 0.6 else 1 - plane), "PNG")

    return draw


def _in_box(ink: Plane, side: int, stretch: float) -> Plane:
    """The ink alone, in the middle of a square of this side; its shorter side is widened by `stretch`."""
    ys, xs = np.nonzero((ink > 0.5).any(1))[0], np.nonzero((ink > 0.5).any(0))[0]
    crop = ink[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    longest = max(crop.shape)
    height, width = (max(1, round(side * (length / longest) ** (1 - stretch))) for length in crop.shape)
    small = np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.BOX))
    plane = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    plane[top : top + height, left : left + width] = small
    return plane


CONDITIONS: dict[str, Renderer] = {
    "form_box": _form,
    "postal_16": _small(16, stretch=(0, 0.6)),
    "postal_32": _small(32, stretch=(0, 0.6)),
    "stretched_16": _small(16, stretch=(0.5, 1)),
    "binary_16": _small(16, stretch=(0, 1), binary=True),
    "binary_32": _small(32, stretch=(0, 1), binary=True),
    "counts_8": _small(8, stretch=(0, 0.8), levels=16),
    "squeezed_28": _squeezed,
    "inverted_28": _framed(28, inverted=True),
    "moved_28": _framed(28, moved=4),
    "framed_20": _framed(20),
    "framed_56": _framed(56, moved=3),
    "framed_280_inverted": _framed(280, inverted=True),
}
