"""A grey picture -> its ground (paper, board, canvas) and the ink on it. Finds the polarity; nothing is cut here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.imaging.grey import GreyImage
from service.imaging.labels import Mask, labelled

Plane = npt.NDArray[np.float32]  # (height, width)
Values = npt.NDArray[np.float64]  # (pixels,) or (pixels, terms)
Histogram = npt.NDArray[np.float64]  # (256,): the share of the pixels at each grey level
InkMap = npt.NDArray[np.float32]  # (height, width): 0 bare ground, 1 as far from it as a grey value can be

COARSE_SIDE = 64  # px: light and shadow are followed on a picture this large
SMALL_SIDE = 64  # px: a picture this small is a drawing or a crop; light may fall off over it, but has no edges
DARKEST = 24  # grey levels: of a darker ground ink swallows no share that could be told
SHADED_SIDE = 24  # px: in fewer, strokes outweigh what is between them
TILTED = 0.15  # of the contrast: light that differs by less over a small picture is even
TILT_ROUNDS = 4
DEEPEST_SHADOW = 0.55  # of the light: what swallows more is ink
LEAST_APART = 60  # grey levels between two greys of which one is ink
ONE_GREY = 0.15  # of what parts them: more than either of them varies
LEAST_FILLED, MOST_FILLED = 0.1, 0.75  # of the picture, by a digit that fills it
REACH = 0.9  # of its sides
MOST_OF_SIDE = 0.75  # of one: a shadow's half of the picture covers more
ONE_MARK = 0.985  # of the ink
FLAT = 0.8  # of the bare ground: as much lies near a plane where that is what light does
ONE_THREAD = 1 << 18  # multiplications: OpenBLAS divides no smaller product among threads


@dataclass(frozen=True, slots=True)
class Ground:
    """What the picture would be without ink: `surface` float32 on a coarse grid; `dark` tells ink darker than that."""

    surface: Plane
    dark: bool
    even: bool

    def ink(self, pixels: GreyImage, box: tuple[float, float, float, float] | None = None) -> InkMap:
        """Ink on `pixels`, which show the part `box` (left, top, right, bottom; shares of the frame) of the picture."""
        left, top, right, bottom = box or (0, 0, 1, 1)
        (height, width), (rows, columns) = pixels.shape, self.surface.shape
        down, across = _between(rows, top, bottom, height), _between(columns, left, right, width)
        surface = _product(_product(down, self.surface), across.T)
        ink: InkMap = pixels.astype(np.float32)
        ink -= surface
        # Ink on paper swallows a share of the light; chalk and screens add to it.
        ink /= -np.maximum(surface, DARKEST) if self.dark else np.float32(255)
        return ink

    def contrast(self, level: float) -> float:
        """How many grey levels ink of that `level` is away from the ground, on average."""
        return level * (max(float(self.surface.mean()), DARKEST) if self.dark else 255)


def _between(cells: int, first: float, last: float, count: int) -> Plane:
    """(count, cells): weights that interpolate at `count` places in the part from `first` to `last`, shares of all."""
    places = cells * (first + (last - first) * (np.arange(count, dtype=np.float32) + 0.5) / count) - 0.5
    away = places.clip(0, cells - 1)[:, None] - np.arange(cells, dtype=np.float32)
    weights: Plane = np.maximum(1 - np.abs(away), 0)
    return weights


def _product(first: Plane, second: Plane) -> Plane:
    """`first @ second` on one thread: those of OpenBLAS cost more than they save here, above all on busy cores."""
    product = np.empty((len(first), second.shape[1]), np.float32)
    rows = max(1, ONE_THREAD // second.size)
    for top in range(0, len(first), rows):
        np.matmul(first[top : top + rows], second, out=product[top : top + rows])
    return product


def even_ground(pixels: GreyImage, *, noisy: bool) -> Ground | None:
    """One grey level for the whole ground, where it is plainly made of one, or one plane in a small picture; else None.

    In a small picture that is `noisy` light cannot be told from noise: it is taken for even.
    """
    counts = histogram(pixels)
    low, high = two_means(counts)
    middle = (low + high) / 2
    # Ink is the minority, above all along the frame.
    band = max(1, round(0.06 * min(pixels.shape)))
    ring = (pixels[:band], pixels[-band:], pixels[:, :band], pixels[:, -band:])
    ring_share = float(np.mean([(side < middle).mean() for side in ring]))
    share = float((pixels < middle).mean())
    dark = 0.4 * share + 0.6 * ring_share < 0.5
    level = _peak(counts, high if dark else low, middle)
    near = np.abs(np.arange(256) - level) <= 1 + 0.04 * (high - low)
    side = np.arange(256) > middle if dark else np.arange(256) <= middle
    even = float((counts * (near & side)).sum()) > 0.85 * float((counts * side).sum())
    # A shadow is no ink: it leaves more light, and covers more of the frame's edge.
    bold = min(share, 1 - share) > 0.04 and low < DEEPEST_SHADOW * high and abs(ring_share - 0.5) > 0.15
    surface: Plane | None = np.full((1, 1), level, np.float32)
    if max(pixels.shape) > SMALL_SIDE:
        if not counts.max() > 0.4 and not (even and bold):
            if (filled := _filled_by(pixels, low, high)) is None:
                return None
            dark = filled
            surface = np.full((1, 1), _peak(counts, high if dark else low, middle), np.float32)
    elif min(pixels.shape) >= SHADED_SIDE and not (even or noisy) and high > low:
        surface = _plane(pixels, level, low - high if dark else high - low)
    return None if surface is None else Ground(surface, dark=dark, even=True)


def _filled_by(pixels: GreyImage, low: float, high: float) -> bool | None:
    """Whether what fills a picture of two greys from side to side, as a digit cut to its ink does, is the darker one;
    None where nothing does. It may be most of the picture, and of its edge. `low` and `high` are its `two_means`.
    """
    if low > DEEPEST_SHADOW * high or high - low < LEAST_APART:
        return None
    darker = pixels < (low + high) / 2
    if max(float(pixels[side].std()) for side in (darker, ~darker)) > ONE_GREY * (high - low):
        return None
    filling = [dark for dark in (True, False) if _fills(darker == dark)]
    # A digit leaves the corners free.
    corners = darker[[0, 0, -1, -1], [0, -1, 0, -1]].mean()
    return min(filling, key=lambda dark: corners if dark else 1 - corners, default=None)


def _fills(ink: Mask) -> bool:
    """Whether all the ink is one mark, no flat surface, that reaches from side to side and from top to bottom."""
    sides = (ink[0], ink[-1], ink[:, 0], ink[:, -1])
    if not LEAST_FILLED < ink.mean() < MOST_FILLED or max(side.mean() for side in sides) > MOST_OF_SIDE:
        return False
    marks = labelled(ink)
    main = int(marks.sizes.argmax())
    top, bottom, left, right = marks.boxes[main]
    reaches = bottom - top > REACH * ink.shape[0] and right - left > REACH * ink.shape[1]
    return bool(reaches and marks.sizes[main] > ONE_MARK * marks.sizes.sum())


def _plane(pixels: GreyImage, level: float, ink: float) -> Plane | None:
    """The ground of a small picture in light that falls off evenly, by least squares over what is no ink; the `level`
    alone where it hardly does, None where it does otherwise. `ink`: how far ink is from the ground, negative where it
    is darker.
    """
    height, width = pixels.shape
    down, across = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].reshape(2, -1)
    basis = np.stack([np.ones(height * width), down, across], axis=1)
    values = pixels.reshape(-1).astype(np.float64)
    plane = np.full(values.shape, level)
    for _ in range(TILT_ROUNDS):
        bare = (values - plane) / ink < 0.25
        plane = basis @ np.linalg.lstsq(basis[bare], values[bare], rcond=None)[0]
    apart = (values - plane) / ink
    if (np.abs(apart) < TILTED).mean() < FLAT * (apart < 0.5).mean():
        return None
    if np.ptp(plane) < TILTED * abs(ink):
        return np.full((1, 1), level, np.float32)
    return plane.reshape(height, width).astype(np.float32)


def uneven_ground(pixels: GreyImage, window: float) -> Ground:
    """The ground followed through light and shadow by a local median; `window` is a share of the shorter side."""
    coarse = shrunk(pixels, COARSE_SIDE)
    surface = _local_median(coarse, max(3, round(window * min(coarse.shape))))
    residual = coarse - surface
    margin = 4 * float(np.median(np.abs(residual)))
    # Squared, since ink stands out by more than what is left of a shadow's edge, which is longer.
    below, above = np.maximum(-residual - margin, 0), np.maximum(residual - margin, 0)
    dark = float(np.vdot(below, below)) >= float(np.vdot(above, above))
    return Ground(surface, dark=dark, even=False)


def shrunk(pixels: GreyImage, side: int) -> Plane:
    """`pixels` averaged down until the longer side is `side`, in fractions of a grey level."""
    image = Image.fromarray(pixels).convert("F")
    scale = min(1.0, side / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BOX))


def _local_median(values: Plane, size: int) -> Plane:
    """Median over size x size windows, edges repeated: strokes are in the minority, and shadows keep their edge."""
    padded = np.pad(values, ((size // 2, size - 1 - size // 2),) * 2, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    step = max(1, size // 8)
    samples = np.ascontiguousarray(windows[:, :, ::step, ::step]).reshape(*values.shape, -1)
    samples.sort(axis=-1)  # in vector registers; np.median's partition takes eight times as long (docs/log.md)
    middle = samples.shape[-1] // 2
    median: Plane = (samples[..., middle] + samples[..., (samples.shape[-1] - 1) // 2]) / np.float32(2)
    return median


def histogram(pixels: GreyImage) -> Histogram:
    return np.array(Image.fromarray(pixels).histogram()) / pixels.size


def two_means(counts: Histogram) -> tuple[float, float]:
    """The means of the two classes that Otsu's threshold parts (Otsu 1979)."""
    levels = np.arange(256, dtype=np.float32)
    share = np.cumsum(counts)
    moment = np.cumsum(counts * levels)
    total = moment[-1]
    spread = (total * share - moment) ** 2 / np.maximum(share * (1 - share), 1e-9)
    spread[(share <= 0) | (share >= 1)] = 0
    at = int(spread.argmax())
    return float(moment[at] / max(share[at], 1e-9)), float((total - moment[at]) / max(1 - share[at], 1e-9))


def _peak(counts: Histogram, mean: float, middle: float) -> float:
    """The commonest level on the ground's side of `middle`: antialiased strokes pull the mean towards the ink."""
    side = np.arange(256) > middle if mean > middle else np.arange(256) < middle
    smooth = np.convolve(counts * side, np.ones(5, np.float32), "same")
    return float(smooth.argmax()) if smooth.any() else mean
