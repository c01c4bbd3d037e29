"""Solid things with a shading of their own, drawn from memory: clothes, shoes, bags, bottles. No picture was copied."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from training.outliers.placing import Images, as_predicted

Corners = list[tuple[float, float]]  # x, y in 0..1
SIDE = 84
PLACED_SHARE = 0.75  # the others stay as large as they are drawn: 28 x 28 with hardly a border


def draw(n: int, rng: np.random.Generator) -> Images:
    """`n` objects, filled and textured: a quarter raw, the others as the service would place them."""
    images = np.stack([_object(rng) for _ in range(n)])
    placed = rng.random(n) < PLACED_SHARE
    images[placed] = as_predicted(images[placed]) if placed.any() else images[placed]
    return images


def _object(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    parts = KINDS[rng.integers(len(KINDS))](rng)
    sheet = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(sheet)
    squeeze = np.exp(rng.normal(0, 0.12))
    for corners, hole in parts:
        shaken = np.array(corners) + rng.normal(0, 0.018, (len(corners), 2))
        if not hole and rng.random() < 0.8:
            shaken = _rounded(shaken)
        points = (np.clip(0.5 + (shaken - 0.5) * [squeeze, 1], 0, 1) * (SIDE - 3) + 1).tolist()
        pen.polygon([(x, y) for x, y in points], fill=0 if hole else 255)
    mask = np.asarray(sheet.filter(ImageFilter.GaussianBlur(0.8)), np.float32) / 255
    if rng.random() < 0.5:
        mask = mask[:, ::-1]
    cloth = mask * _cloth(rng)
    return np.asarray(
        Image.fromarray(np.rint(255 * np.clip(cloth, 0, 1)).astype(np.uint8)).resize((28, 28), Image.Resampling.BOX)
    )


def _rounded(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    following = np.roll(points, -1, axis=0)
    return np.stack([0.8 * points + 0.2 * following, 0.2 * points + 0.8 * following], 1).reshape(-1, 2)


def _cloth(rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Brightness (84, 84): folds, prints, stripes, a lighter or darker part."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    level = np.full((SIDE, SIDE), rng.uniform(0.3, 1))
    spots = rng.normal(0, 1, (int(rng.integers(3, 12)), int(rng.integers(3, 12)))).astype(np.float32)
    level += rng.uniform(0, 0.25) * np.asarray(Image.fromarray(spots).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    if rng.random() < 0.3:
        angle, pitch = rng.choice([0, np.pi / 2, rng.uniform(0, 3)]), rng.uniform(0.05, 0.25)
        level += rng.uniform(0.1, 0.4) * np.sin(2 * np.pi * (y * np.cos(angle) + x * np.sin(angle)) / pitch)
    if rng.random() < 0.3:
        level = np.where(np.abs(x - 0.5) < rng.uniform(0.01, 0.06), level * rng.uniform(0.3, 1.4), level)
    if rng.random() < 0.25:
        level = np.where((np.abs(x - 0.5) < 0.18) & (np.abs(y - 0.4) < 0.15), rng.uniform(0, 1), level)
    return np.clip(level + rng.normal(0, 0.04, level.shape), 0.08, 1).astype(np.float32)


Parts = list[tuple[Corners, bool]]


def _shirt(rng: np.random.Generator) -> Parts:
    sleeve = rng.choice([0.35, 0.55, 0.95])
    wide, waist = rng.uniform(0.0, 0.12), rng.uniform(0.22, 0.32)
    left = [(0.38, 0.03), (0.25, 0.06), (wide, sleeve - 0.05), (wide + 0.12, sleeve), (waist, 0.3), (waist, 0.98)]
    neck = [(0.5, rng.uniform(0.06, 0.2))]
    body = [*left, *[(1 - x, y) for x, y in reversed(left)], *neck]
    return [(body, False)] + ([([(0.49, 0.1), (0.51, 0.1), (0.51, 1), (0.49, 1)], True)] if rng.random() < 0.25 else [])


def _trousers(rng: np.random.Generator) -> Parts:
    hip, foot, fork = rng.uniform(0.2, 0.32), rng.uniform(0.16, 0.34), rng.uniform(0.25, 0.6)
    return [
        ([(hip, 0.02), (1 - hip, 0.02), (1 - foot, 0.98), (0.56, 0.98), (0.5, fork), (0.44, 0.98), (foot, 0.98)], False)
    ]


def _dress(rng: np.random.Generator) -> Parts:
    waist, hem = rng.uniform(0.32, 0.42), rng.uniform(0.05, 0.38)
    left = [(0.4, 0.02), (0.34, 0.12), (waist, 0.4), (hem, 0.98)]
    return [([*left, *[(1 - x, y) for x, y in reversed(left)], (0.5, rng.uniform(0.04, 0.15))], False)]


def _shoe(rng: np.random.Generator) -> Parts:
    high = rng.choice([0.42, 0.36, 0.1, 0.05])
    toe = rng.uniform(0.55, 0.7)
    shoe = [
        (0.03, 0.85),
        (0.05, high),
        (rng.uniform(0.3, 0.42), high),
        (0.45, 0.5),
        (0.75, toe),
        (0.97, 0.75),
        (0.97, 0.85),
    ]
    sole = [(0.02, 0.82), (0.98, 0.82), (0.98, 0.9), (0.3, 0.9), (0.3, rng.uniform(0.9, 0.98)), (0.02, 0.92)]
    strap = [(0.2, 0.55), (0.6, 0.62), (0.55, 0.75), (0.2, 0.72)]
    return [(shoe, False), (sole, False)] + ([(strap, True)] if rng.random() < 0.3 else [])


def _bag(rng: np.random.Generator) -> Parts:
    top, inset = rng.uniform(0.25, 0.5), rng.uniform(0, 0.12)
    body = [(0.03 + inset, top), (0.97 - inset, top), (0.97, 0.95), (0.03, 0.95)]
    handle = [(0.2, top), (0.3, 0.05), (0.7, 0.05), (0.8, top)]
    inner = [(0.28, top), (0.35, 0.14), (0.65, 0.14), (0.72, top)]
    return [(handle, False), (inner, True), (body, False)] if rng.random() < 0.7 else [(body, False)]


def _sandal(rng: np.random.Generator) -> Parts:
    heel, back = rng.uniform(0.3, 0.8), rng.uniform(0.05, 0.5)
    sole = [(0.03, heel), (0.45, 0.8), (0.97, 0.84), (0.97, 0.92), (0.4, 0.92), (0.1, heel + 0.12)]
    parts: Parts = [(sole, False)]
    if heel < 0.6:
        parts.append(([(0.03, heel), (0.16, heel), (0.13, 0.94), (0.05, 0.94)], False))
    for _ in range(rng.integers(1, 4)):
        foot, width, lean = rng.uniform(0.05, 0.9), rng.uniform(0.05, 0.14), rng.uniform(-0.25, 0.25)
        top = rng.uniform(back, 0.7)
        parts.append(([(foot, 0.85), (foot + lean, top), (foot + lean + width, top), (foot + width, 0.85)], False))
    if rng.random() < 0.6:
        parts.append(([(0.05, back), (rng.uniform(0.3, 0.6), back), (0.35, back + 0.1), (0.05, back + 0.08)], False))
    return parts


def _strap_bag(rng: np.random.Generator) -> Parts:
    """A small body under a long strap that ends in a point or a bow."""
    left, top = rng.uniform(0.1, 0.35), rng.uniform(0.5, 0.7)
    bow, strap, lean = rng.uniform(0, 0.15), rng.uniform(0.03, 0.08), rng.uniform(-0.2, 0.2)
    x = 0.5 + lean
    outer = [(left, top), (x - bow, 0.02), (x + bow, 0.02), (1 - left, top)]
    inner = [(left + strap, top), (x - bow, 0.04 + strap), (x + bow, 0.04 + strap), (1 - left - strap, top)]
    body = [(left - 0.03, top), (1.03 - left, top), (1 - left, 0.97), (left, 0.97)]
    return [(outer, False), (inner, True), (body, False)]


def _sleeved(rng: np.random.Generator) -> Parts:
    """A coat or a dress whose sleeves hang beside it."""
    shoulder, cuff = rng.uniform(0.25, 0.38), rng.uniform(0.02, 0.2)
    hand, waist, hem = rng.uniform(0.4, 0.75), rng.uniform(0.3, 0.42), rng.uniform(0.22, 0.38)
    left = [(0.42, 0.02), (shoulder, 0.08), (cuff, hand), (cuff + 0.1, hand + 0.04), (shoulder + 0.06, 0.26)]
    left += [(waist, 0.45), (hem, 0.98)]
    return [([*left, *[(1 - x, y) for x, y in reversed(left)]], False)]


def _bottle(rng: np.random.Generator) -> Parts:
    neck, body, shoulder = rng.uniform(0.04, 0.12), rng.uniform(0.15, 0.35), rng.uniform(0.2, 0.45)
    left = [(0.5 - neck, 0.02), (0.5 - neck, shoulder - 0.1), (0.5 - body, shoulder), (0.5 - body, 0.98)]
    return [([*left, *[(1 - x, y) for x, y in reversed(left)]], False)]


def _blob(rng: np.random.Generator) -> Parts:
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    radius = 0.3 + 0.15 * rng.random(14)
    return [([(0.5 + r * np.cos(a), 0.5 + r * np.sin(a)) for r, a in zip(radius, angles, strict=True)], False)]


KINDS: tuple[Callable[[np.random.Generator], Parts], ...] = (
    _shirt, _shirt, _shirt, _trousers, _dress, _dress, _sleeved, _shoe, _shoe, _sandal, _sandal, _bag, _strap_bag,
    _bottle, _blob,
)  # fmt: skip
