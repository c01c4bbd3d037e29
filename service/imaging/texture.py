"""What is no picture of anything: noise, and textures of which a piece may look like strokes."""

from __future__ import annotations

import mahotas
import numpy as np

from service.imaging.background import Ground, Plane
from service.imaging.fit import SIDE
from service.imaging.grey import GreyImage
from service.imaging.labels import EIGHT
from service.imaging.marks import Mark

GRAIN_SIDE = 128  # px: noise is told on a part this large
GRAIN = 20  # grey levels of standard deviation: paper and cameras stay below
LEAST_SHARED = 0.11  # correlation of neighbours: noise has 0.1 at most, a digit under noise of deviation 100 0.12
EDGES = 0.1  # of each side of the frame, where a desk or a scanner's lid may show
ROUGH_PERCENTILE, ROUGH = 80, 0.28  # of the pixels around a mark, and of its ink's level: paper and photos stay below
PATCHY_PERCENTILE, PATCHY = (
    90,
    0.5,
)  # of the ground's steps, and of the ink's contrast: light and paper stay below
LEAST_MARK = 0.05  # of the frame: what covers more is no chance piece of a texture


def is_noise(pixels: GreyImage) -> bool:
    """Whether neighbouring pixels have next to nothing in common, as in no picture of anything."""
    if min(pixels.shape) < SIDE:
        return False
    part = _inner(pixels)
    part -= part.mean()
    spread = float(np.vdot(part, part))
    if spread < GRAIN**2 * part.size:
        return False
    shared = float(np.vdot(part[:, 1:], part[:, :-1]) + np.vdot(part[1:], part[:-1])) / 2
    return shared < LEAST_SHARED * spread


def noise_deviation(pixels: GreyImage) -> float:
    """Standard deviation of the noise in grey levels: Immerkaer, Computer Vision and Image Understanding 64, 1996.

    By the median instead of the mean, so that strokes and edges do not count.
    """
    part = _inner(pixels)
    rows = part[:-2] - 2 * part[1:-1] + part[2:]
    laplacian = rows[:, :-2] - 2 * rows[:, 1:-1] + rows[:, 2:]
    return float(np.median(np.abs(laplacian))) / (6 * 0.6745)


def _inner(pixels: GreyImage) -> Plane:
    """The middle, where noise is measured."""
    height, width = pixels.shape
    top, left = max(0, height - GRAIN_SIDE) // 2, max(0, width - GRAIN_SIDE) // 2
    return pixels[top : top + GRAIN_SIDE, left : left + GRAIN_SIDE].astype(np.float32)


def is_texture(view: GreyImage, ground: Ground, mark: Mark) -> bool:
    """Whether what is around the mark has edges as strong as its own, or much of it stands out nearly as far."""
    if _is_patchy(ground, mark.level):
        return True
    if mark.mask.mean() > LEAST_MARK:
        return False
    coarse = view[::2, ::2]  # every fourth pixel is enough
    part = tuple(slice(round(EDGES * side), side - round(EDGES * side)) for side in coarse.shape)
    beside = ~mahotas.dilate(mark.mask, EIGHT)[::2, ::2][part]
    around = np.abs(ground.ink(coarse)[part][beside])
    return around.size > 0 and float(np.percentile(around, ROUGH_PERCENTILE)) > ROUGH * mark.level


def _is_patchy(ground: Ground, level: float) -> bool:
    steps = np.concatenate([np.abs(np.diff(ground.surface, axis=axis)).reshape(-1) for axis in (0, 1)])
    return float(np.percentile(steps, PATCHY_PERCENTILE)) > PATCHY * ground.contrast(level)
